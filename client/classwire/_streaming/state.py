"""The state of one stream: items taken, sent and answered. No threads and no IO here.

A driver (`threaded` or `asynchronous`) makes these steps, in any order, but one at a time:

    the caller's iterable --add--> queued --next_message--> the server
    the server --receive--> outcomes --take--> the caller's loop

The state holds an item from `add` until `take`, and at most `window` items: the smaller of the
caller's and the server's. So a slow caller slows down the source.

A stream outlives its calls. A call lasts from `begin_call` to `ended`. Unless the stream is over,
the next call follows when `pause_s` is over and the stream `wants_call`. Items without an answer
are then queued again, before new ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from google.protobuf import duration_pb2

from classwire._calls import requests, responses
from classwire.errors import (
    ClasswireError,
    InternalError,
    InvalidInputError,
    MessageTooLargeError,
)
from classwire.results import StreamItem, StreamResult, TextInput
from classwire.v1 import classwire_pb2 as pb

from .ledger import Ledger
from .reconnection import Reconnection

DEFAULT_ITEM_TIMEOUT_S = 600.0
"""Much longer than a call's: a whole window may be in the queue before an item."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """The arguments of `classify_stream` that configure the stream."""

    model: str | None
    scoring: pb.ClassifyOptions
    in_order: bool
    window: int | None
    item_timeout_s: float | None

    def config(self) -> pb.StreamConfig:
        """The config for the server. InvalidInputError or TypeError names a wrong argument."""
        if self.window is not None:
            requests.count(self.window, "window")
        config = pb.StreamConfig(
            model=requests.name(self.model, "model"),
            options=self.scoring,
            ordering=pb.ORDERING_IN_ORDER if self.in_order else pb.ORDERING_AS_COMPLETED,
        )
        timeout_s = self.item_timeout_s
        limit_s = requests.seconds(
            DEFAULT_ITEM_TIMEOUT_S if timeout_s is None else timeout_s, "item_timeout_s"
        )
        if limit_s is not None:
            config.item_timeout.CopyFrom(_duration(limit_s))
        return config


class StreamState:
    """The state of one stream. Not thread-safe: the driver holds a lock, or is one task."""

    def __init__(
        self, config: pb.StreamConfig, window: int | None, reconnection: Reconnection
    ) -> None:
        self.first_request = pb.StreamClassifyRequest(config=config)
        """The first request of every call."""
        self.calls_ended = 0
        self.pause_s = 0.0
        """Seconds to wait before the next call, unless the stream `skips_pause`."""
        self._reconnection = reconnection
        self._ledger = Ledger(in_order=config.ordering == pb.ORDERING_IN_ORDER)
        self._asked_window = window
        self._window = 0
        self._low_water = 0
        self._max_items = 0
        self._started = False
        # Whether a call ended with nothing unanswered: the next has time until there is an item.
        self._resting = False
        self._full = False
        self._count = 0
        self._queued: deque[pb.StreamItem] = deque()
        self._in_flight: set[str] = set()
        self._exhausted = False
        self._abandoned = False
        self._over = False
        self._source_error: BaseException | None = None
        self._error: Exception | None = None

    @property
    def wants_item(self) -> bool:
        """Whether the driver may take another item from the caller's iterable.

        After the window was full, it waits for room for a good part of a message. Otherwise it
        would send one item per message.
        """
        has_server = self._started or self._resting
        return has_server and not self._full and not self._exhausted and not self._over

    @property
    def wants_message(self) -> bool:
        """Whether there is something to send."""
        return self._started and bool(self._queued) and not self._over

    @property
    def sending_is_over(self) -> bool:
        """Whether there is nothing more to send, so that the driver can half-close the call."""
        return self._over or (self._exhausted and not self._queued)

    @property
    def wants_call(self) -> bool:
        """Whether to make the next call. On an abandoned stream, that call raises the reason."""
        return not self._over and (not self._resting or bool(self._queued) or self._abandoned)

    @property
    def has_outcome(self) -> bool:
        """Whether `take` has a result."""
        return bool(self._ledger.results)

    @property
    def skips_pause(self) -> bool:
        """Whether the pause before the next call is pointless."""
        return self._over or self._abandoned

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended: no call will follow."""
        return self._over

    def begin(self) -> None:
        """Begin the stream and its deadline."""
        self._reconnection.begin()

    def begin_call(self) -> float | None:
        """Begin a call; return its timeout in seconds, None for no limit."""
        self._resting = False
        return self._reconnection.call_timeout_s()

    def abandon(self) -> None:
        """Make no call after the present one: the client was closed."""
        self._abandoned = True

    def add(self, item: str | TextInput | StreamItem) -> None:
        """Take one element of the caller's iterable.

        Raises TypeError or InvalidInputError for a wrong id. An element that is not text, or that
        UTF-8 cannot encode, gets its error as outcome; the stream goes on.
        """
        if isinstance(item, StreamItem):
            id_, text = item.id, item.input
        else:
            id_, text = str(self._count), item
        self._count += 1
        self._ledger.check_id(id_)
        if self._over:  # taken while the stream ended: the caller must see its id in `unanswered`
            self._ledger.add(id_)
            return
        try:
            message = pb.StreamItem(id=id_, input=requests.element_input(text, "input"))
        except InvalidInputError as error:
            self._ledger.add(id_)
            self._ledger.answer(id_, error)
        else:
            self._ledger.add(id_, message)
            self._queued.append(message)
        self._full = len(self._ledger) >= self._window

    def exhausted(self, error: BaseException | None = None) -> None:
        """Record that the caller's iterable has ended, or has raised an error for `finish`."""
        self._exhausted = True
        self._source_error = error
        self._over = self._over or (self._resting and self._ledger.is_answered)

    def next_message(self) -> pb.StreamClassifyRequest:
        """Return a message with as many queued items as fit. Only if `wants_message`."""
        items = [self._queued.popleft()]
        size = items[0].ByteSize()
        while self._queued and len(items) < self._max_items:
            size += self._queued[0].ByteSize()
            if size > requests.MAX_MESSAGE_BYTES:
                break
            items.append(self._queued.popleft())
        self._in_flight.update(item.id for item in items)
        return pb.StreamClassifyRequest(items=pb.StreamItems(items=items))

    def receive(self, response: pb.StreamClassifyResponse) -> None:
        """Take a message of the server.

        Raises the error that ends the call: InternalError for a message that breaks the contract,
        InvalidInputError if the server is too old for the options, or the error of an item that the
        client sends again.
        """
        event = response.WhichOneof("event")
        if event == "started":
            self._start(response.started)
        elif event == "results":
            if not self._started:
                raise _broken("results came before the stream was started")
            self._take_in(response.results)

    def ended(self, error: Exception | None = None) -> None:
        """Record that the call is over, with its error if it has one."""
        self.calls_ended += 1
        was_started, self._started = self._started, False
        item_failed = self._item_failed(error)
        if self._exhausted and self._ledger.is_answered:
            self._over = True
            return
        if error is None:
            left = len(self._ledger.unanswered)
            error = _broken(f"the stream ended with {left} items unanswered")
        self._in_flight.clear()
        self._queued = self._ledger.messages
        if self._abandoned:
            self._fail(error)
        elif was_started and self._ledger.is_answered and self._reconnection.is_loss(error):
            self._resting, self.pause_s = True, 0.0
        elif item_failed:
            self._resting, self.pause_s = self._ledger.is_answered, 0.0
        else:
            try:
                self.pause_s = self._reconnection.lost(error)
            except Exception as final:
                self._fail(final)

    def take(self) -> StreamResult:
        """Hand one result to the caller. Only if `has_outcome`."""
        taken = self._ledger.results.popleft()
        if len(self._ledger) <= self._low_water:
            self._full = False
        return taken

    def finish(self) -> None:
        """Raise the error of the caller's iterable, or else of the stream, if there is one.

        Only when the stream is over and the driver adds no more items.
        """
        if self._source_error is not None:
            raise self._source_error
        if self._error is not None:
            if isinstance(self._error, ClasswireError):
                self._error.unanswered = self._ledger.unanswered
            raise self._error

    def _start(self, started: pb.StreamStarted) -> None:
        if self._started:
            raise _broken("the stream was started twice")
        if not started.window_items or not started.max_items_per_message:
            raise _broken("the stream was started with a limit of 0")
        self._started = True
        self._reconnection.started()
        self._window = min(self._asked_window or started.window_items, started.window_items)
        self._max_items = started.max_items_per_message
        self._low_water = self._window - min(self._max_items, max(1, self._window // 2))
        self._full = len(self._ledger) >= self._window

    def _take_in(self, results: pb.StreamResults) -> None:
        options = self.first_request.config.options
        responses.check_windows(
            options, responses.classifications(each.outcome for each in results.results)
        )
        shared = responses.Shared.of(results)
        again: ClasswireError | None = None
        for result in results.results:
            if result.id not in self._in_flight:
                raise _broken("a result came for an id that no item waits under")
            self._in_flight.remove(result.id)
            outcome = responses.outcome(result.outcome, shared)
            if isinstance(outcome, ClasswireError) and self._reconnection.is_loss(outcome):
                again = outcome
            else:
                self._reconnection.answered()
                self._ledger.answer(result.id, outcome)
        if again is not None:
            raise again

    def _item_failed(self, error: Exception | None) -> bool:
        """Give the error of a message that is too large to its item; return whether it has one.

        Only a message of a single item has more than MAX_MESSAGE_BYTES.
        """
        if not isinstance(error, MessageTooLargeError):
            return False
        sent = [item for item in self._ledger.messages if item.id in self._in_flight]
        largest = max(sent, key=pb.StreamItem.ByteSize, default=None)
        if largest is None or largest.ByteSize() <= requests.MAX_MESSAGE_BYTES:
            return False
        self._ledger.answer(largest.id, error)
        return True

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._over = True


def _broken(message: str) -> InternalError:
    return InternalError(f"the server broke the contract: {message}")


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    # At least a nanosecond: the contract wants a positive time.
    duration.FromNanoseconds(max(1, round(seconds * 1e9)))
    return duration
