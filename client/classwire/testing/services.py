"""ClassifyService of the fake server: the contract without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire.v1 import classwire_pb2_grpc as pb_grpc

from . import ranking
from .failures import Failure, trailers
from .script import Request, Script
from .windows import in_force, windows


class ClassifyService(pb_grpc.ClassifyServiceServicer):
    """Classifies, ranks and tokenizes as the fake server's test decides."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def Classify(
        self, request: pb.ClassifyRequest, context: grpc.ServicerContext
    ) -> pb.ClassifyResponse:
        """Answer one text."""
        self._begin(request, request.model, context)
        in_windows = in_force(request.options, self._truncation, context)
        scores = self._script.scores(request.input)
        if isinstance(scores, Failure):
            scores.abort(context, "input.text")
        return pb.ClassifyResponse(
            result=self._classification(scores, request.input, request.options, in_windows),
            model=_ref(self._script.model),
            timing=_timing(request.input),
        )

    def BatchClassify(
        self, request: pb.BatchClassifyRequest, context: grpc.ServicerContext
    ) -> pb.BatchClassifyResponse:
        """Answer several texts."""
        self._begin(request, request.model, context)
        if not 1 <= len(request.inputs) <= self._script.model.limits.max_texts_per_call:
            Failure(Reason.TOO_MANY_ITEMS).abort(context, "inputs")
        in_windows = in_force(request.options, self._truncation, context)
        return pb.BatchClassifyResponse(
            outcomes=[
                self._outcome(given, request.options, in_windows, f"inputs[{index}].text")
                for index, given in enumerate(request.inputs)
            ],
            model=_ref(self._script.model),
            timing=_timing(*request.inputs),
        )

    def StreamClassify(
        self, request_iterator: Iterator[pb.StreamClassifyRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamClassifyResponse]:
        """Answer each message of items with one message of results, in order."""
        first = next(request_iterator)
        if first.WhichOneof("event") != "config":
            Failure(Reason.BAD_STREAM_START).abort(context)
        self._begin(first, first.config.model, context)
        in_windows = in_force(first.config.options, self._truncation, context)
        breaking = self._script.next_stream_failure()
        limits, ref = self._script.model.limits, _ref(self._script.model)
        started = pb.StreamStarted(
            model=ref,
            window_items=limits.stream_window_items,
            max_items_per_message=limits.stream_items_per_message,
        )
        yield pb.StreamClassifyResponse(started=started)
        given = 0
        for request in request_iterator:
            self._script.record(request)
            self._script.released.wait()
            items = list(request.items.items)
            if not 1 <= len(items) <= limits.stream_items_per_message:
                Failure(Reason.TOO_MANY_ITEMS).abort(context, "items")
            last = breaking is not None and given + len(items) >= breaking[0]
            if breaking is not None and last:
                items = items[: breaking[0] - given]
            results = [
                pb.StreamResult(
                    id=item.id,
                    outcome=self._outcome(
                        item.input,
                        first.config.options,
                        in_windows,
                        f"items.items[{place}].input.text",
                    ),
                )
                for place, item in enumerate(items)
            ]
            given += len(results)
            if results:
                timing = _timing(*(item.input for item in items))
                yield pb.StreamClassifyResponse(
                    results=pb.StreamResults(results=results, model=ref, timing=timing)
                )
            if breaking is not None and last:
                breaking[1].abort(context)

    def Tokenize(
        self, request: pb.TokenizeRequest, context: grpc.ServicerContext
    ) -> pb.TokenizeResponse:
        """Answer with the words of the text."""
        self._begin(request, request.model, context)
        in_windows = in_force(request, self._truncation, context)
        failure = self._script.failure(request.input.text)
        if failure is not None:
            failure.abort(context, "input.text")
        tokens = _tokens(request.input)
        read = []
        if in_windows:
            read = list(windows(request.input, request.windows, self._script.model.max_tokens))
            tokens = [token for window in read for token in _tokens(window.given)]
        return pb.TokenizeResponse(
            tokens=tokens,
            attention_mask=[1] * len(tokens),
            model=_ref(self._script.model),
            windows=[window.message() for window in read],
        )

    def Rank(self, request: pb.RankRequest, context: grpc.ServicerContext) -> pb.RankResponse:
        """Rank documents."""
        self._begin(request, request.model, context)
        in_force(request.options, self._truncation, context)
        response = ranking.rank(self._script, request, context)
        response.model.CopyFrom(_ref(self._script.model))
        response.timing.CopyFrom(pb.Timing(batch_texts=len(request.documents)))
        return response

    def ZeroShotClassify(
        self, request: pb.ZeroShotClassifyRequest, context: grpc.ServicerContext
    ) -> pb.ZeroShotClassifyResponse:
        """Score candidate labels."""
        self._begin(request, request.model, context)
        in_force(request.options, self._truncation, context)
        return pb.ZeroShotClassifyResponse(
            result=ranking.zero_shot(self._script, request, context),
            model=_ref(self._script.model),
            timing=pb.Timing(batch_texts=len(request.candidate_labels)),
        )

    @property
    def _truncation(self) -> pb.Truncation.ValueType:
        """The truncation of calls that name none."""
        return self._script.model.default_truncation

    def _begin(self, request: Request, model: str, context: grpc.ServicerContext) -> None:
        self._script.record(request)
        context.set_trailing_metadata(trailers(context))
        self._script.begin(context)
        if model not in ("", self._script.model.name):
            Failure(Reason.UNKNOWN_MODEL).abort(context)
        if not isinstance(request, pb.StreamClassifyRequest):
            self._script.released.wait()

    def _outcome(
        self, given: pb.TextInput, options: pb.ClassifyOptions, in_windows: bool, field: str
    ) -> pb.Outcome:
        scores = self._script.scores(given)
        if isinstance(scores, Failure):
            return pb.Outcome(error=scores.item_error(field))
        result = self._classification(scores, given, options, in_windows)
        return pb.Outcome(classification=result)

    def _classification(
        self,
        scores: Mapping[str, float],
        given: pb.TextInput,
        options: pb.ClassifyOptions,
        in_windows: bool,
    ) -> pb.Classification:
        """A text with these scores; `include_windows` asks the test for those of each window."""
        result = _classification(scores, given, options)
        result.window_count = 1
        if not in_windows:
            return result
        read = list(windows(given, options.windows, self._script.model.max_tokens))
        if len(read) > 1:
            result.window_count = len(read)
            result.token_count = sum(window.token_count for window in read)
            result.aggregation = options.windows.aggregation or pb.WINDOW_AGGREGATION_MEAN_LOGITS
        if options.include_windows:
            for window in read:
                of_window = self._script.answer_to(window.given)
                result.windows.append(window.message(tuple(of_window.values())))
        return result


def _classification(
    scores: Mapping[str, float], given: pb.TextInput, options: pb.ClassifyOptions
) -> pb.Classification:
    ranked = sorted(
        (
            pb.LabelScore(label=label, label_id=label_id, score=score)
            for label_id, (label, score) in enumerate(scores.items())
        ),
        key=lambda each: (-each.score, each.label_id),
    )
    if options.HasField("min_score"):
        ranked = [each for each in ranked if each.score >= options.min_score]
    tokens = _tokens(given)
    return pb.Classification(
        scores=ranked[: options.top_k or None],
        activation=options.activation or pb.ACTIVATION_SOFTMAX,
        token_count=len(tokens),
        logits=scores.values() if options.include_logits else (),
        tokens=tokens if options.include_tokens else (),
    )


def _tokens(given: pb.TextInput) -> list[pb.Token]:
    texts = [given.text, *([given.text_pair] if given.HasField("text_pair") else [])]
    return [
        pb.Token(text=word.group(), start=word.start(), end=word.end(), sequence_index=index)
        for index, text in enumerate(texts)
        for word in re.finditer(r"\S+", text)
    ]


def _ref(model: pb.Model) -> pb.ModelRef:
    return pb.ModelRef(
        name=model.name,
        fingerprint=model.fingerprint,
        precision=model.precision,
        engine=model.engine,
    )


def _timing(*inputs: pb.TextInput) -> pb.Timing:
    return pb.Timing(
        batch_texts=len(inputs), batch_tokens=sum(len(_tokens(each)) for each in inputs)
    )
