"""ClassifyService: texts in, labelled scores out."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import wait

from classwire._reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from ..config import ServerConfig
from ..errors import RequestError
from ..gate import Gate
from ..registry import Registry, ServedModel
from ..scheduling import Pending, Priority
from ..tokenization import OffsetUnit
from .handlers import Call
from .item import Item
from .messages import (
    OFFSET_UNITS,
    TRUNCATIONS,
    Options,
    TimingOf,
    model_ref,
    parse_enum,
    parse_options,
    parse_text,
    token,
)
from .stream import StreamSession


class ClassifyService:
    """The RPCs of ClassifyService, as functions on messages. Safe for use by any thread."""

    def __init__(self, registry: Registry, gate: Gate, config: ServerConfig) -> None:
        self._registry = registry
        self._gate = gate
        self._max_streams = config.max_streams
        self._free_streams = threading.BoundedSemaphore(config.max_streams)

    def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Score one text or pair."""
        model = self._registry.served(request.model, "model")
        options = _options(model, request.options)
        item = Item(model, options, request.input, "input", call.received_s, call.deadline_s)
        _run(model, [item], call)
        timing = TimingOf()
        result = item.classification(timing)
        ref = model_ref(model, timing.traits or model.engine.traits)
        return pb.ClassifyResponse(result=result, model=ref, timing=timing.message)

    def batch_classify(
        self, request: pb.BatchClassifyRequest, call: Call
    ) -> pb.BatchClassifyResponse:
        """Score several texts; each has an outcome of its own."""
        model = self._registry.served(request.model, "model")
        options = _options(model, request.options)
        _refuse_too_many(model, len(request.inputs), options)
        items = [
            Item(model, options, text, f"inputs[{index}]", call.received_s, call.deadline_s)
            for index, text in enumerate(request.inputs)
        ]
        _run(model, items, call)
        timing = TimingOf()
        outcomes = [item.outcome(timing) for item in items]
        ref = model_ref(model, timing.traits or model.engine.traits)
        return pb.BatchClassifyResponse(outcomes=outcomes, model=ref, timing=timing.message)

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
        session = StreamSession(self._registry, requests, call)
        call.when_over(self._gate.listen(session.drain))
        yield from session.responses()

    def tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        """What the model would see of a text."""
        model = self._registry.served(request.model, "model")
        truncation = parse_enum(request.truncation, TRUNCATIONS, "truncation")
        unit = parse_enum(request.offset_unit, OFFSET_UNITS, "offset_unit") or OffsetUnit.UNICODE
        text = parse_text(request.input, model.limits.max_text_bytes, "input")
        encoding = model.tokenization.encode(text, truncation, "input.text")
        return pb.TokenizeResponse(
            tokens=map(token, encoding.tokens(unit)),
            attention_mask=[1] * len(encoding.ids),
            truncated_tokens=encoding.truncated_tokens,
            model=model_ref(model, model.engine.traits),
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


def _run(model: ServedModel, items: Sequence[Item], call: Call) -> None:
    """Wait until every future has ended: answered, failed, expired in the queue, or cancelled."""
    pendings: list[Pending] = [item.pending for item in items if item.pending]
    if not pendings:
        return
    dispatcher = model.dispatcher
    dispatcher.submit(pendings)
    call.when_over(lambda: dispatcher.withdraw(pendings))
    futures = [pending.future for pending in pendings]
    if wait(futures, max(0.0, call.deadline_s - time.monotonic())).not_done:
        dispatcher.expire()
        wait(futures)
