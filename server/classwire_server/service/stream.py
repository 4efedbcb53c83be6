"""One StreamClassify call: items are read on one thread, results are written on another.

The reader stops at the window, so HTTP/2 slows the sender; an item leaves the window when gRPC has
sent its result, so a caller that stops reading costs a window of items and no more, and that only
as long as a stream may be idle.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from queue import SimpleQueue

import grpc

from classwire._reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from ..endings import draining
from ..errors import RequestError
from ..registry import Registry
from .handlers import Call
from .item import Item, read_items
from .messages import parse
from .status import request_error
from .stream_config import StreamConfig
from .stream_lifetime import LEAST_DRAIN_S, StreamLifetime, StreamLimits
from .stream_messages import items_of, portions, results_of, started

MAX_ID_BYTES = 128


class StreamSession:
    """The state of one stream.

    `responses` runs on the RPC's thread, `_read` on a thread of the session's own, `drain` and
    `check` on any.
    """

    def __init__(
        self, registry: Registry, requests: Iterator[bytes], call: Call, limits: StreamLimits
    ) -> None:
        self._registry = registry
        self._requests = requests
        self._call = call
        self._inbox: SimpleQueue[list[Item]] = SimpleQueue()  # an empty list wakes the writer
        self._changed = threading.Condition()  # guards all below
        self._config: StreamConfig | None = None
        self._unanswered: dict[str, Item] = {}  # in the order in which they were read
        self._in_window = 0  # items that were read and whose results gRPC has not sent
        self._reading = True
        self._over = False
        self._failure: RequestError | None = None
        self._lifetime = StreamLifetime(limits, call.received_s)

    def drain(self) -> None:
        """Read no more; answer what was read, then end with UNAVAILABLE/DRAINING."""
        self._stop_reading(draining())

    def check(self, now_s: float) -> float:
        """End the stream if it is idle or old; returns the instant at which to look again."""
        with self._changed:
            answered = not self._in_window
            failure = self._lifetime.why_end(now_s, answered=answered)
            must_be_cut = self._lifetime.must_be_cut(now_s)
            next_s = self._lifetime.next_s(now_s, answered=answered)
        if failure is not None:
            self._stop_reading(failure)
        if must_be_cut:
            self._cut()
            return now_s + LEAST_DRAIN_S
        return next_s

    def responses(self) -> Iterator[pb.StreamClassifyResponse]:
        """All responses of the stream. Raises RequestError when it ends with an error."""
        self._call.when_over(self._abandon)
        threading.Thread(target=self._read, name="stream-reader", daemon=True).start()
        config = self._wait_for_config()
        if config is not None:
            yield from self._sent(started(config))
            for items in self._ready(config):
                yield from self._sent(results_of(config, items), len(items))
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        """Read until the caller half-closes, the stream drains or fails, or the call is over."""
        try:
            config = StreamConfig.parse(next(self._requests, b""), self._registry)
            with self._changed:
                self._config = config
                self._changed.notify_all()
            for raw in self._requests:
                self._accept(parse(pb.StreamClassifyRequest, raw), config)
                if not self._wait_for_window(config.model.limits.stream_window_items):
                    return
            self._stop_reading(None)
        except grpc.RpcError:  # how grpcio ends the iterator of a call that was cancelled
            self._stop_reading(None)
        except Exception as error:
            self._stop_reading(request_error(error))

    def _accept(self, request: pb.StreamClassifyRequest, config: StreamConfig) -> None:
        """Read the items of a message, up to one with a bad id, and let them wait for the engine.

        Raises RequestError when the message must end the stream.
        """
        read_s = time.monotonic()
        model = config.model
        messages = items_of(request, model.limits.stream_items_per_message)
        ids = [message.id for message in messages]
        count, bad_id = self._good_ids(ids)
        items = read_items(
            model,
            config.options,
            [message.input for message in messages[:count]],
            "items.items[{}].input",
            self._inbox,
            read_s,
            read_s + config.item_timeout_s,
            flow=self,
        )
        with self._changed:
            if not self._reading:
                return
            for item, item_id in zip(items, ids[:count], strict=True):
                item.id = item_id
                self._unanswered[item_id] = item
            self._in_window += count
        unread = [item for item in items if item.error]
        if unread:
            self._inbox.put(unread)
        model.dispatcher.submit_when_room(
            [item for item in items if not item.error], lambda: self._over
        )
        if bad_id is not None:
            raise bad_id

    def _good_ids(self, ids: Sequence[str]) -> tuple[int, RequestError | None]:
        """How many ids there are before the first bad one, and what is wrong with that."""
        with self._changed:
            taken = set(self._unanswered).intersection(ids)
        for place, item_id in enumerate(ids):
            size = len(item_id.encode())
            field = f"items.items[{place}].id"
            if not 1 <= size <= MAX_ID_BYTES:
                return place, RequestError(
                    Reason.BAD_ID,
                    f"the id has {size} bytes, not 1 to {MAX_ID_BYTES}",
                    field=field,
                    metadata={"bytes": str(size)},
                )
            if item_id in taken:
                return place, RequestError(
                    Reason.BAD_ID, "an unanswered item has the same id", field=field
                )
            taken.add(item_id)
        return len(ids), None

    def _wait_for_config(self) -> StreamConfig | None:
        with self._changed:
            self._changed.wait_for(lambda: self._config is not None or not self._reading)
            return self._config

    def _wait_for_window(self, window_items: int) -> bool:
        """Wait until the next message may be read; False when none may be read any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_window < window_items or not self._reading)
            return self._reading

    def _sent(
        self, response: pb.StreamClassifyResponse, items: int = 0
    ) -> Iterator[pb.StreamClassifyResponse]:
        """Give gRPC a response of so many items, which leave the window once it is sent."""
        with self._changed:
            self._lifetime.sending(time.monotonic())
        yield response
        with self._changed:
            self._lifetime.sent(time.monotonic())
            self._in_window -= items
            self._changed.notify_all()

    def _ready(self, config: StreamConfig) -> Iterator[list[Item]]:
        """The items of each message of results, as soon as they are known, to the stream's end."""
        ended: list[Item] = []
        while True:
            with self._changed:
                if self._over:
                    return
                if config.in_order:
                    ended = list(takewhile(lambda item: item.ended, self._unanswered.values()))
                for item in ended:
                    del self._unanswered[item.id]
                is_last = not self._reading and not self._unanswered
            yield from portions(ended, config.results_per_message)
            if is_last:
                return
            ended = [*self._inbox.get()]
            while not self._inbox.empty():
                ended += self._inbox.get()

    def _stop_reading(self, failure: RequestError | None) -> None:
        with self._changed:
            if self._reading:
                self._reading = False
                self._failure = failure
            self._changed.notify_all()
        self._inbox.put([])

    def _cut(self) -> None:
        """End at once: with UNAVAILABLE/DRAINING, or where that can't be said any more, without."""
        with self._changed:
            said = not (self._over or self._lifetime.is_sending)
            self._failure = self._failure or draining()
        if said:
            self._abandon()
        else:
            self._call.cancel()

    def _abandon(self) -> None:
        """The call is over: wake everyone, and take what still waits out of the queue."""
        with self._changed:
            self._reading = False
            self._over = True
            self._changed.notify_all()
            config, unanswered = self._config, list(self._unanswered.values())
        self._inbox.put([])
        if config is not None:
            config.model.dispatcher.withdraw(unanswered)
