"""The items that a stream holds: taken from the caller, and not yet returned with an outcome."""

from __future__ import annotations

from collections import OrderedDict, deque

from classwire._calls import requests
from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.results import Outcome, StreamResult
from classwire.v1 import classwire_pb2 as pb

MAX_ID_BYTES = 128


class Ledger:
    """Items by id, in the order they were added; results in that order too if `in_order`."""

    def __init__(self, *, in_order: bool) -> None:
        self.results: deque[StreamResult] = deque()
        """The results that are ready for the caller."""
        self._in_order = in_order
        self._count = 0
        # Ids in the order they were added, each with its index; and, if results are to come in that
        # order, the outcomes that wait for an earlier one.
        self._unanswered: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[str, Outcome] = {}
        # Those of them that have no outcome, in the same order.
        self._messages: dict[str, pb.StreamItem] = {}

    def __len__(self) -> int:
        return len(self._unanswered) + len(self.results)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The ids without an outcome, or whose outcome waits for an earlier one."""
        return tuple(self._unanswered)

    @property
    def is_answered(self) -> bool:
        """Whether there are no such ids."""
        return not self._unanswered

    @property
    def messages(self) -> deque[pb.StreamItem]:
        """The items without an outcome, for a new server."""
        return deque(self._messages.values())

    def check_id(self, id_: str) -> None:
        """Raise InvalidInputError for an id of a wrong size, or of an unanswered item."""
        size = len(requests.unicode(id_, "id").encode())
        if not 1 <= size <= MAX_ID_BYTES:
            raise _bad_id(f"an item's id must have 1 to {MAX_ID_BYTES} bytes of UTF-8, not {size}")
        if id_ in self._unanswered:
            raise _bad_id("an item's id is that of an item still unanswered")

    def add(self, id_: str, message: pb.StreamItem | None = None) -> None:
        """Hold an item. An item without a message is never sent."""
        self._unanswered[id_] = self._count
        self._count += 1
        if message is not None:
            self._messages[id_] = message

    def answer(self, id_: str, outcome: Outcome) -> None:
        """Record the outcome of an item."""
        self._messages.pop(id_, None)
        if not self._in_order:
            self.results.append(StreamResult(id_, self._unanswered.pop(id_), outcome))
            return
        self._waiting[id_] = outcome
        while self._unanswered and (first := next(iter(self._unanswered))) in self._waiting:
            index = self._unanswered.pop(first)
            self.results.append(StreamResult(first, index, self._waiting.pop(first)))


def _bad_id(message: str) -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_ID, field="id")
