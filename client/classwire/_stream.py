"""What one stream has taken from its caller, sent, and been answered. No threads and no IO here.

Whoever drives it (`_threaded_stream`, `_async_stream`) moves things along, in any interleaving but
one at a time:

    the caller's iterable --add--> queued --next_message--> the server
    the server --receive--> outcomes --take--> the caller's loop

An item is held from `add` until `take`. At most `window` are: the smaller of what the caller asked
for and what the server reads before it answers, so a slow caller slows the source, not only the
server.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from . import _requests, _responses
from ._reasons import Reason
from .errors import ClasswireError, InternalError, InvalidInput
from .results import Item, Outcome, Text
from .v1 import classwire_pb2 as pb

MAX_ID_BYTES = 128


class StreamState:
    """The state of one stream. Not thread-safe: its driver holds a lock, or is one task."""

    def __init__(self, config: pb.StreamConfig, window: int | None) -> None:
        self.first_request = pb.StreamClassifyRequest(config=config)
        self._in_order = config.ordering == pb.ORDERING_IN_ORDER
        self._window = window or 0
        self._low_water = 0
        self._max_items = 0
        self._started = False
        self._full = False
        self._count = 0
        self._queued: deque[pb.StreamItem] = deque()
        self._in_flight: set[str] = set()
        # Ids in the order they were added; the outcome waits here for its turn when in order.
        self._unanswered: OrderedDict[str, Outcome | None] = OrderedDict()
        self._outcomes: deque[tuple[str, Outcome]] = deque()
        self._exhausted = False
        self._over = False
        self._source_error: BaseException | None = None
        self._error: Exception | None = None

    @property
    def wants_item(self) -> bool:
        """Whether the caller's iterable may be asked for another item.

        Once the window is full, only after room for a good part of a message: one item at a time
        would be sent one by one.
        """
        return self._started and not self._full and not self._exhausted and not self._over

    @property
    def wants_message(self) -> bool:
        """Whether there is something to send."""
        return bool(self._queued) and not self._over

    @property
    def sending_is_over(self) -> bool:
        """Whether nothing will be sent any more, so that this side of the stream can be closed."""
        return self._over or (self._exhausted and not self._queued)

    @property
    def has_outcome(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._outcomes)

    @property
    def is_over(self) -> bool:
        """Whether the server has ended the stream."""
        return self._over

    def add(self, item: str | Text | Item) -> None:
        """Take one element of the caller's iterable; TypeError or InvalidInput when it is none.

        A text that has no UTF-8 gets its outcome at once: it is not sent, and fails no other.
        """
        if isinstance(item, Item):
            id_, text = item.id, item.text
        else:
            id_, text = str(self._count), item
        self._count += 1
        self._check_id(id_)
        if self._over:  # it was on its way when the stream ended: the caller has to know of it
            self._unanswered[id_] = None
            return
        try:
            message = pb.StreamItem(id=id_, input=_requests.text_input(text))
        except InvalidInput as error:
            self._unanswered[id_] = None
            self._answer(id_, error)
        else:
            self._unanswered[id_] = None
            self._queued.append(message)
        self._full = len(self._unanswered) + len(self._outcomes) >= self._window

    def exhausted(self, error: BaseException | None = None) -> None:
        """Note that the caller's iterable has ended, or has raised what `finish` will raise."""
        self._exhausted = True
        self._source_error = error

    def next_message(self) -> pb.StreamClassifyRequest:
        """Send what is queued, as far as one message holds it. Only if `wants_message`."""
        items = [self._queued.popleft()]
        size = items[0].ByteSize()
        while self._queued and len(items) < self._max_items:
            size += self._queued[0].ByteSize()
            if size > _requests.MAX_MESSAGE_BYTES:
                break
            items.append(self._queued.popleft())
        self._in_flight.update(item.id for item in items)
        return pb.StreamClassifyRequest(items=pb.StreamItems(items=items))

    def receive(self, response: pb.StreamClassifyResponse) -> None:
        """Take a message of the server; InternalError when the contract does not allow it."""
        event = response.WhichOneof("event")
        if event == "started":
            self._start(response.started)
        elif event == "results":
            if not self._started:
                raise _broken("results came before the stream was started")
            results = response.results
            ref, timing = _responses.model_ref(results.model), _responses.timing(results.timing)
            for result in results.results:
                if result.id not in self._in_flight:
                    raise _broken("a result came for an id that no item waits under")
                self._in_flight.remove(result.id)
                self._answer(result.id, _responses.outcome(result.outcome, ref, timing))

    def ended(self, error: Exception | None = None) -> None:
        """Note that the stream is over: the server ended it, well or with an error, or it broke."""
        complete = self._exhausted and not self._unanswered
        if error is None and not complete:
            error = _broken(f"the stream ended with {len(self._unanswered)} items unanswered")
        if not complete:
            self._error = error
        self._over = True

    def take(self) -> tuple[str, Outcome]:
        """Hand one outcome to the caller. Only if `has_outcome`."""
        taken = self._outcomes.popleft()
        if len(self._unanswered) + len(self._outcomes) <= self._low_water:
            self._full = False
        return taken

    def finish(self) -> None:
        """Raise what the stream ended with, the caller's own error first.

        Only once it is over, and nobody adds any more.
        """
        if self._source_error is not None:
            raise self._source_error
        if self._error is not None:
            if isinstance(self._error, ClasswireError):
                self._error.unanswered = tuple(self._unanswered)
            raise self._error

    def _start(self, started: pb.StreamStarted) -> None:
        if self._started:
            raise _broken("the stream was started twice")
        if not started.window_items or not started.max_items_per_message:
            raise _broken("the stream was started with a limit of 0")
        self._started = True
        self._window = min(self._window or started.window_items, started.window_items)
        self._max_items = started.max_items_per_message
        self._low_water = self._window - min(self._max_items, max(1, self._window // 2))

    def _answer(self, id_: str, outcome: Outcome) -> None:
        if not self._in_order:
            del self._unanswered[id_]
            self._outcomes.append((id_, outcome))
            return
        self._unanswered[id_] = outcome
        while self._unanswered:
            first, waiting = next(iter(self._unanswered.items()))
            if waiting is None:
                return
            self._unanswered.popitem(last=False)
            self._outcomes.append((first, waiting))

    def _check_id(self, id_: str) -> None:
        size = len(_requests.unicode(id_, "id").encode())
        if not 1 <= size <= MAX_ID_BYTES:
            raise _bad_id(f"an item's id must have 1 to {MAX_ID_BYTES} bytes of UTF-8, not {size}")
        if id_ in self._unanswered:
            raise _bad_id("an item's id is that of an item still unanswered")


def _bad_id(message: str) -> InvalidInput:
    return InvalidInput(message, reason=Reason.BAD_ID, field="id")


def _broken(message: str) -> InternalError:
    return InternalError(f"the server broke the contract: {message}")
