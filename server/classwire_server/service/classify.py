"""ClassifyService: texts in, labelled scores out."""

import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.scheduling.batch import Priority
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.service.responses import model_ref, token
from classwire_server.tokenization import OffsetUnit, tokens_made

from .items import Item, read_items, run_items
from .requests import OFFSET_UNITS, TRUNCATIONS, Options, parse_enum, parse_options, parse_text
from .responses import timing_of, traits_of, write_outcomes
from .streaming.classify import ClassifyStream
from .streaming.streams import Streams


class ClassifyService:
    """The RPCs of ClassifyService, as functions on messages. Safe for use by any thread."""

    def __init__(self, registry: Registry, streams: Streams) -> None:
        self._registry = registry
        self._streams = streams

    def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Score one text or pair."""
        model = self._model(request.model, call)
        options = _options(model, request.options)
        items = _run(model, options, [request.input], "input.{name}", call)
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
        """Score several texts; each has an outcome of its own."""
        model = self._model(request.model, call)
        options = _options(model, request.options)
        _refuse_too_many(model, len(request.inputs), options)
        items = _run(model, options, request.inputs, "inputs[{place}].{name}", call)
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
        """What the model would see of a text."""
        model = self._model(request.model, call)
        truncation = parse_enum(request.truncation, TRUNCATIONS, "truncation")
        unit = parse_enum(request.offset_unit, OFFSET_UNITS, "offset_unit") or OffsetUnit.UNICODE
        call.caller.rate.check(call.received_s)
        try:
            text = parse_text(request.input, model.limits.max_text_bytes)
            encoding = model.tokenization.encode(text, truncation, "text")
            call.caller.rate.take(len(encoding.ids), call.received_s)
        except RequestError as error:
            call.caller.rate.take(tokens_made(error), call.received_s)
            error.field = f"input.{error.field}"
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
    return parse_options(options, model.checkpoint.activation, Priority.INTERACTIVE, "options")


def _refuse_too_many(model: ServedModel, texts: int, options: Options) -> None:
    limits = model.limits
    limit = (
        limits.max_texts_per_call_with_tokens
        if options.include_tokens
        else limits.max_texts_per_call
    )
    if texts > limit:
        raise RequestError(
            Reason.TOO_MANY_ITEMS,
            f"{texts} texts, and the limit is {limit}",
            field="inputs",
            metadata={"items": str(texts), "max_items": str(limit)},
        )


def _run(
    model: ServedModel, options: Options, inputs: Sequence[pb.TextInput], field: str, call: Call
) -> list[Item]:
    """Read texts and wait until each has ended: answered, failed, expired or cancelled."""
    inbox: SimpleQueue[list[Item]] = SimpleQueue()
    items = read_items(
        model, options, inputs, field, inbox, call.received_s, call.deadline_s, call.caller
    )
    try:
        run_items(model, items, call)
    except RequestError as error:
        refused = Outcome(time.monotonic() - call.received_s, reason=error.reason)
        model.dispatcher.statistics.count([refused] * len(items))
        raise
    return items
