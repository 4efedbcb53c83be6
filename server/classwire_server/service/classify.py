"""ClassifyService: texts in, labelled scores out."""

import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from classwire._reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from ..config import ServerConfig
from ..errors import RequestError
from ..gate import Gate
from ..pending import Priority
from ..registry import Registry, ServedModel
from ..tokenization import OffsetUnit
from .alarms import Alarms
from .handlers import Call
from .item import Item, read_items
from .messages import (
    OFFSET_UNITS,
    TRUNCATIONS,
    Options,
    model_ref,
    parse_enum,
    parse_options,
    parse_text,
    token,
)
from .outcome import timing_of, traits_of, write_outcomes
from .stream import StreamSession
from .stream_lifetime import StreamLimits


class ClassifyService:
    """The RPCs of ClassifyService, as functions on messages. Safe for use by any thread."""

    def __init__(self, registry: Registry, gate: Gate, config: ServerConfig) -> None:
        self._registry = registry
        self._gate = gate
        self._max_streams = config.max_streams
        self._free_streams = threading.BoundedSemaphore(config.max_streams)
        self._stream_limits = StreamLimits.of(config)
        self._alarms = Alarms()

    def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Score one text or pair."""
        model = self._registry.served(request.model, "model")
        options = _options(model, request.options)
        items = _run(model, options, [request.input], "input", call)
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
        model = self._registry.served(request.model, "model")
        options = _options(model, request.options)
        _refuse_too_many(model, len(request.inputs), options)
        items = _run(model, options, request.inputs, "inputs[{}]", call)
        response = pb.BatchClassifyResponse()
        write_outcomes(model, options, items, [response.outcomes.add() for _ in items])
        response.model.CopyFrom(model_ref(model, traits_of(items)))
        response.timing.CopyFrom(timing_of(items))
        return response

    def stream_classify(
        self, requests: Iterator[bytes], call: Call
    ) -> Iterator[pb.StreamClassifyResponse]:
        """Score texts for as long as the caller sends them."""
        if not self._free_streams.acquire(blocking=False):
            raise RequestError(
                Reason.TOO_MANY_STREAMS,
                "the server has as many streams as it takes",
                metadata={"max_streams": str(self._max_streams)},
                retry_after_s=1.0,
            )
        call.when_over(self._free_streams.release)
        session = StreamSession(self._registry, requests, call, self._stream_limits)
        call.when_over(self._gate.listen(session.drain))
        call.when_over(self._alarms.set(session.check(call.received_s), session.check))
        yield from session.responses()

    def tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        """What the model would see of a text."""
        model = self._registry.served(request.model, "model")
        truncation = parse_enum(request.truncation, TRUNCATIONS, "truncation")
        unit = parse_enum(request.offset_unit, OFFSET_UNITS, "offset_unit") or OffsetUnit.UNICODE
        try:
            text = parse_text(request.input, model.limits.max_text_bytes)
            encoding = model.tokenization.encode(text, truncation, "text")
        except RequestError as error:
            error.field = f"input.{error.field}"
            raise
        return pb.TokenizeResponse(
            tokens=map(token, encoding.tokens(unit)),
            attention_mask=[1] * len(encoding.ids),
            truncated_tokens=encoding.truncated_tokens,
            model=model_ref(model, None),
        )


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
    items = read_items(model, options, inputs, field, inbox, call.received_s, call.deadline_s)
    left = [item for item in items if not item.ended]
    if left:
        dispatcher = model.dispatcher
        dispatcher.submit(left)
        call.when_over(lambda: dispatcher.withdraw(left))
        ended = 0
        while ended < len(left):
            ended += len(inbox.get())
    return items
