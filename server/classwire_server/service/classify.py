"""ClassifyService: texts in, labelled scores out."""

import time
from collections.abc import Iterator

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.scheduling.batch import Priority
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.tokenization import OffsetUnit, tokens_made

from .items import Item, Submission, read_items, run_items
from .requests import (
    OFFSET_UNITS,
    TRUNCATIONS,
    ClassifyRequest,
    Options,
    check_spans,
    check_text,
    max_texts,
    parse_enum,
    parse_options,
    text_of,
)
from .responses import model_ref, timing_of, token, traits_of, write_outcomes
from .streaming.classify import ClassifyStream
from .streaming.streams import Streams


class ClassifyService:
    """The RPCs of ClassifyService, as functions on messages. Any thread may call them."""

    def __init__(self, registry: Registry, streams: Streams) -> None:
        self._registry = registry
        self._streams = streams

    def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Score one text or pair."""
        model = self._model(request.model, call)
        options = _options(model, request.options)
        asked = ClassifyRequest.of(model, options, [text_of(request.input)])
        items = _run(asked, "input.{name}", call)
        outcome = pb.Outcome()
        write_outcomes(model, options, items, [outcome])
        if items[0].error is not None:
            raise items[0].error
        return pb.ClassifyResponse(
            result=outcome.classification,
            model=model_ref(model, traits_of(items)),
            timing=timing_of(items),
        )

    def batch_classify(
        self, request: pb.BatchClassifyRequest, call: Call
    ) -> pb.BatchClassifyResponse:
        """Score several texts; each has its own outcome."""
        model = self._model(request.model, call)
        options = _options(model, request.options)
        _check_size(len(request.inputs), max_texts(model, options))
        asked = ClassifyRequest.of(model, options, map(text_of, request.inputs))
        items = _run(asked, "inputs[{place}].{name}", call)
        response = pb.BatchClassifyResponse()
        write_outcomes(model, options, items, [response.outcomes.add() for _ in items])
        response.model.CopyFrom(model_ref(model, traits_of(items)))
        response.timing.CopyFrom(timing_of(items))
        return response

    def stream_classify(
        self, requests: Iterator[bytes], call: Call
    ) -> Iterator[pb.StreamClassifyResponse]:
        """Score texts for as long as the caller sends them."""
        session = ClassifyStream(self._registry, requests, call, self._streams.limits)
        return self._streams.serve(session, call)

    def tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        """The tokens of a text, as the model gets them."""
        model = self._model(request.model, call)
        check_spans(model, "model")
        truncation = parse_enum(request.truncation, TRUNCATIONS, "truncation")
        unit = parse_enum(request.offset_unit, OFFSET_UNITS, "offset_unit") or OffsetUnit.UNICODE
        rate = call.caller.rate
        rate.check(call.received_s)
        try:
            text = check_text(text_of(request.input), model.limits.max_text_bytes)
            encoding = model.tokenization.encode(text, truncation, "text")
            rate.take(len(encoding.ids), call.received_s)
        except RequestError as error:
            rate.take(tokens_made(error), call.received_s)
            error.field = error.field and f"input.{error.field}"
            raise
        return pb.TokenizeResponse(
            tokens=map(token, encoding.tokens(unit)),
            attention_mask=[1] * len(encoding.ids),
            truncated_tokens=encoding.truncated_tokens,
            model=model_ref(model, None),
        )

    def _model(self, name: str, call: Call) -> ServedModel:
        return self._registry.seen_by(call.caller).use(name, "model", call.when_over)


def _options(model: ServedModel, options: pb.ClassifyOptions) -> Options:
    return parse_options(options, model, Priority.INTERACTIVE, "options")


def _check_size(texts: int, limit: int) -> None:
    """Raises RequestError TOO_MANY_ITEMS for a batch over the limit."""
    if texts > limit:
        raise RequestError(
            Reason.TOO_MANY_ITEMS,
            f"{texts} texts, and the limit is {limit}",
            field="inputs",
            metadata={"items": str(texts), "max_items": str(limit)},
        )


def _run(request: ClassifyRequest, field: str, call: Call) -> list[Item]:
    """Wait until each text of a call has ended: answered, failed, expired or cancelled."""
    items = read_items(request, Submission.of(call), field)
    try:
        run_items(request.model, items, call)
    except RequestError as error:
        rejected = Outcome(time.monotonic() - call.received_s, reason=error.reason)
        request.model.dispatcher.statistics.count([rejected] * len(items))
        raise
    return items
