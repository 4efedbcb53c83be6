"""ClassifyService: texts in, labelled scores out."""

from collections.abc import Iterator

from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.scheduling.batch import Priority
from classwire_server.tokenization import OffsetUnit, tokens_made

from .answers import traits_of
from .items import run
from .options import (
    OFFSET_UNITS,
    Options,
    check_spans,
    default_aggregation,
    parse_aggregation,
    parse_enum,
    parse_fit,
    parse_options,
)
from .rank import RankRequest, rank
from .requests import BatchRequest, ClassifyRequest, check_size, check_text, max_texts, text_of
from .responses import model_ref, timing_of, write_outcomes
from .streaming.classify import ClassifyStream
from .streaming.streams import Streams
from .tokens import tokenize_response
from .zero_shot import ZeroShotRequest, zero_shot


class ClassifyService:
    """The RPCs of ClassifyService, as functions on messages. Any thread may call them."""

    def __init__(self, registry: Registry, streams: Streams) -> None:
        self._registry = registry
        self._streams = streams

    def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Score one text or pair."""
        model = self._model(request.model, call)
        options = _options(model, request.options)
        texts = [text_of(request.input)]
        items = run(ClassifyRequest.of(model, options, texts, "input.{name}"), call)
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
        check_size(len(request.inputs), max_texts(model, options), "inputs")
        texts = map(text_of, request.inputs)
        items = run(BatchRequest.of(model, options, texts, "inputs[{place}].{name}"), call)
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
        fit = parse_fit(request, model, "")
        parse_aggregation(request, default_aggregation(model), "")  # has no effect
        unit = parse_enum(request.offset_unit, OFFSET_UNITS, "offset_unit") or OffsetUnit.UNICODE
        rate = call.caller.rate
        rate.check(call.received_s)
        try:
            text = check_text(text_of(request.input), model.limits.max_text_bytes)
            encoding = model.tokenization.encode(text, fit, "text")
            response = tokenize_response(model, encoding, fit, unit)
        except RequestError as error:
            rate.take(tokens_made(error), call.received_s)
            error.field = error.field and f"input.{error.field}"
            raise
        rate.take(tokens_made(encoding), call.received_s)
        return response

    def rank(self, request: pb.RankRequest, call: Call) -> pb.RankResponse:
        """Order documents by the score of each with a query."""
        return rank(RankRequest.parse(request, self._model(request.model, call)), call)

    def zero_shot_classify(
        self, request: pb.ZeroShotClassifyRequest, call: Call
    ) -> pb.ZeroShotClassifyResponse:
        """Score labels that the caller makes up."""
        return zero_shot(ZeroShotRequest.parse(request, self._model(request.model, call)), call)

    def _model(self, name: str, call: Call) -> ServedModel:
        return self._registry.seen_by(call.caller).use(name, "model", call.when_over)


def _options(model: ServedModel, options: pb.ClassifyOptions) -> Options:
    return parse_options(options, model, Priority.INTERACTIVE, "options")
