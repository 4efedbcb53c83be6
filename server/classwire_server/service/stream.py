"""One StreamClassify call: items are read on one thread, results are written on another.

The reader stops at the window, so HTTP/2 slows the sender; an item leaves the window when gRPC has
sent its result, so a caller that stops reading costs a window of items and no more.
"""

import itertools
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc

from classwire._reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from ..errors import RequestError
from ..registry import Registry, ServedModel
from ..scheduling import Priority
from .handlers import Call
from .item import Item
from .messages import Options, TimingOf, model_ref, parse, parse_enum, parse_options
from .status import request_error

MAX_ID_BYTES = 128
MAX_RESULTS_BYTES = 1 << 20
"""A message of results is sent once it is this large: far below other clients' 4 MiB."""


class Ordering(Enum):
    """The order in which results come back."""

    AS_COMPLETED = "as_completed"
    IN_ORDER = "in_order"


ORDERINGS: Mapping[Any, Ordering] = {
    pb.ORDERING_AS_COMPLETED: Ordering.AS_COMPLETED,
    pb.ORDERING_IN_ORDER: Ordering.IN_ORDER,
}


@dataclass(frozen=True, eq=False)
class _Settings:
    """What the stream's config asks for; `item_timeout_s` is math.inf for none."""

    model: ServedModel
    options: Options
    in_order: bool
    item_timeout_s: float


class StreamSession:
    """The state of one stream.

    `responses` runs on the RPC's thread, `_read` on a thread of the session's own, `drain` on any.
    """

    def __init__(self, registry: Registry, requests: Iterator[bytes], call: Call) -> None:
        self._registry = registry
        self._requests = requests
        self._call = call
        self._changed = threading.Condition()  # guards all below
        self._settings: _Settings | None = None
        self._unanswered: dict[str, Item] = {}  # in the order in which they were read
        self._ended: list[str] = []  # ids of unanswered items, in the order of their ends
        self._in_window = 0  # items that were read and whose results gRPC has not sent
        self._expired_s = -math.inf  # items with deadlines until then have left the queue
        self._reading = True
        self._over = False
        self._failure: RequestError | None = None

    def drain(self) -> None:
        """Read no more; answer what was read, then end with UNAVAILABLE/DRAINING."""
        self._stop_reading(RequestError(Reason.DRAINING, "the server is shutting down"))

    def responses(self) -> Iterator[pb.StreamClassifyResponse]:
        """All responses of the stream. Raises RequestError when it ends with an error."""
        self._call.when_over(self._abandon)
        threading.Thread(target=self._read, name="stream-reader", daemon=True).start()
        settings = self._wait_for_settings()
        if settings is not None:
            limits = settings.model.limits
            yield pb.StreamClassifyResponse(
                started=pb.StreamStarted(
                    model=model_ref(settings.model, settings.model.engine.traits),
                    window_items=limits.stream_window_items,
                    max_items_per_message=limits.stream_items_per_message,
                )
            )
            while items := self._next_items(settings):
                yield from self._messages(settings, items)
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        """Read until the caller half-closes, the stream drains or fails, or the call is over."""
        try:
            settings = self._parse_config(next(self._requests, b""))
            with self._changed:
                self._settings = settings
                self._changed.notify_all()
            for raw in self._requests:
                self._accept(parse(pb.StreamClassifyRequest, raw), settings)
                if not self._wait_for_window(settings.model.limits.stream_window_items):
                    return
            self._stop_reading(None)
        except grpc.RpcError:  # how grpcio ends the iterator of a call that was cancelled
            self._stop_reading(None)
        except Exception as error:
            self._stop_reading(request_error(error))

    def _parse_config(self, raw: bytes) -> _Settings:
        first = parse(pb.StreamClassifyRequest, raw)
        if first.WhichOneof("event") != "config":
            raise RequestError(
                Reason.BAD_STREAM_START, "a stream starts with a config", field="config"
            )
        config = first.config
        model = self._registry.served(config.model, "config.model")
        options = parse_options(
            config.options, model.checkpoint.activation, Priority.BULK, "config.options"
        )
        in_order = parse_enum(config.ordering, ORDERINGS, "config.ordering") is Ordering.IN_ORDER
        return _Settings(model, options, in_order, _item_timeout_s(config))

    def _accept(self, request: pb.StreamClassifyRequest, settings: _Settings) -> None:
        if request.WhichOneof("event") != "items":
            raise RequestError(
                Reason.BAD_STREAM_START, "a stream has one config, then items", field="config"
            )
        messages = request.items.items
        limit = settings.model.limits.stream_items_per_message
        if len(messages) > limit:
            raise RequestError(
                Reason.TOO_MANY_ITEMS,
                f"{len(messages)} items in a message, and the limit is {limit}",
                field="items.items",
                metadata={"items": str(len(messages)), "max_items": str(limit)},
            )
        read_s = time.monotonic()
        for index, message in enumerate(messages):
            self._accept_item(message, f"items.items[{index}]", read_s, settings)

    def _accept_item(
        self, message: pb.StreamItem, field: str, read_s: float, settings: _Settings
    ) -> None:
        item = Item(
            settings.model,
            settings.options,
            message.input,
            f"{field}.input",
            read_s,
            read_s + settings.item_timeout_s,
        )
        with self._changed:
            if not self._reading:
                return
            self._refuse_bad_id(message.id, f"{field}.id")
            self._unanswered[message.id] = item
            self._in_window += 1
            if settings.item_timeout_s != math.inf:
                self._changed.notify_all()  # the writer may know of no deadline yet
        if item.pending is None:
            self._note_end(message.id)
            return
        item.pending.future.add_done_callback(lambda _: self._note_end(message.id))
        settings.model.dispatcher.submit_when_room(item.pending, lambda: self._over)

    def _refuse_bad_id(self, item_id: str, field: str) -> None:
        size = len(item_id.encode())
        if not 1 <= size <= MAX_ID_BYTES:
            raise RequestError(
                Reason.BAD_ID,
                f"the id has {size} bytes, not 1 to {MAX_ID_BYTES}",
                field=field,
                metadata={"bytes": str(size)},
            )
        if item_id in self._unanswered:
            raise RequestError(Reason.BAD_ID, "an unanswered item has the same id", field=field)

    def _wait_for_settings(self) -> _Settings | None:
        with self._changed:
            self._changed.wait_for(lambda: self._settings is not None or not self._reading)
            return self._settings

    def _wait_for_window(self, window_items: int) -> bool:
        """Wait until the next message may be read; False when none may be read any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_window < window_items or not self._reading)
            return self._reading

    def _note_end(self, item_id: str) -> None:
        with self._changed:
            self._ended.append(item_id)
            self._changed.notify_all()

    def _next_items(self, settings: _Settings) -> list[tuple[str, Item]]:
        """Wait for results, and take the items of all that are ready; none at the stream's end."""
        while True:
            with self._changed:
                if self._over:
                    return []
                items = self._take_ready(settings.in_order)
                if items or (not self._reading and not self._unanswered):
                    return items
                deadline_s = self._next_deadline_s()
                now_s = time.monotonic()
                if deadline_s > now_s:
                    self._changed.wait(min(deadline_s - now_s, threading.TIMEOUT_MAX))
                    continue
                self._expired_s = now_s
            settings.model.dispatcher.expire()

    def _next_deadline_s(self) -> float:
        deadlines_s = (
            item.pending.deadline_s for item in self._unanswered.values() if item.pending
        )
        return min((d for d in deadlines_s if d > self._expired_s), default=math.inf)

    def _take_ready(self, in_order: bool) -> list[tuple[str, Item]]:
        ids = self._ended
        if in_order:
            ended = set(ids)
            ids = list(itertools.takewhile(ended.__contains__, self._unanswered))
        taken = set(ids)
        self._ended = [item_id for item_id in self._ended if item_id not in taken]
        return [(item_id, self._unanswered.pop(item_id)) for item_id in ids]

    def _messages(
        self, settings: _Settings, items: list[tuple[str, Item]]
    ) -> Iterator[pb.StreamClassifyResponse]:
        """Results in messages; an item leaves the window once gRPC has sent its message."""
        limit = settings.model.limits.stream_items_per_message
        results, timing, size = pb.StreamResults(), TimingOf(), 0
        for index, (item_id, item) in enumerate(items, start=1):
            outcome = item.outcome(timing)
            results.results.add(id=item_id, outcome=outcome)
            size += outcome.ByteSize()
            if len(results.results) < limit and size < MAX_RESULTS_BYTES and index < len(items):
                continue
            traits = timing.traits or settings.model.engine.traits
            results.model.CopyFrom(model_ref(settings.model, traits))
            results.timing.CopyFrom(timing.message)
            yield pb.StreamClassifyResponse(results=results)
            with self._changed:
                self._in_window -= len(results.results)
                self._changed.notify_all()
            results, timing, size = pb.StreamResults(), TimingOf(), 0

    def _stop_reading(self, failure: RequestError | None) -> None:
        with self._changed:
            if self._reading:
                self._reading = False
                self._failure = failure
            self._changed.notify_all()

    def _abandon(self) -> None:
        """The call is over: wake everyone, and take what still waits out of the queue."""
        with self._changed:
            self._reading = False
            self._over = True
            self._changed.notify_all()
            settings = self._settings
            pendings = [item.pending for item in self._unanswered.values() if item.pending]
        if settings is not None:
            settings.model.dispatcher.withdraw(pendings)


def _item_timeout_s(config: pb.StreamConfig) -> float:
    if not config.HasField("item_timeout"):
        return math.inf
    timeout = config.item_timeout
    seconds = timeout.seconds + timeout.nanos / 1e9
    if not 0 < seconds <= 315_576_000_000 or not 0 <= timeout.nanos < 1_000_000_000:
        raise RequestError(
            Reason.BAD_OPTION,
            "item_timeout is not a positive duration",
            field="config.item_timeout",
        )
    return seconds
