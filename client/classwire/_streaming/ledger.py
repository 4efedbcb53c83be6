"""The items that a stream holds: taken from its caller, and not yet handed back with an outcome."""

from __future__ import annotations

from collections import OrderedDict, deque

from .. import _requests
from ..contract.reasons import Reason
from ..errors import InvalidInput
from ..results import Outcome
from ..v1 import classwire_pb2 as pb

MAX_ID_BYTES = 128


class Ledger:
    """Items by id, in the order they were added; outcomes in that order too, if asked for."""

    def __init__(self, *, in_order: bool) -> None:
        self.outcomes: deque[tuple[str, Outcome]] = deque()
        """What may be handed back."""
        self._in_order = in_order
        # Ids in the order they were added; the outcome waits here for its turn when in order.
        self._unanswered: OrderedDict[str, Outcome | None] = OrderedDict()
        # Those of them that have no outcome, in the same order.
        self._messages: dict[str, pb.StreamItem] = {}

    def __len__(self) -> int:
        return len(self._unanswered) + len(self.outcomes)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The ids that have no outcome, or whose outcome waits for its turn."""
        return tuple(self._unanswered)

    @property
    def is_answered(self) -> bool:
        """Whether there are no such ids."""
        return not self._unanswered

    @property
    def messages(self) -> deque[pb.StreamItem]:
        """What a server that knows of nothing has to be sent."""
        return deque(self._messages.values())

    def check_id(self, id_: str) -> None:
        """Raise InvalidInput when no item may be added under this id."""
        size = len(_requests.unicode(id_, "id").encode())
        if not 1 <= size <= MAX_ID_BYTES:
            raise _bad_id(f"an item's id must have 1 to {MAX_ID_BYTES} bytes of UTF-8, not {size}")
        if id_ in self._unanswered:
            raise _bad_id("an item's id is that of an item still unanswered")

    def add(self, id_: str, message: pb.StreamItem | None = None) -> None:
        """Hold an item; without a message it is never sent."""
        self._unanswered[id_] = None
        if message is not None:
            self._messages[id_] = message

    def answer(self, id_: str, outcome: Outcome) -> None:
        """Note the outcome of an item that has none."""
        self._messages.pop(id_, None)
        if not self._in_order:
            del self._unanswered[id_]
            self.outcomes.append((id_, outcome))
            return
        self._unanswered[id_] = outcome
        while self._unanswered:
            first, waiting = next(iter(self._unanswered.items()))
            if waiting is None:
                return
            self._unanswered.popitem(last=False)
            self.outcomes.append((first, waiting))


def _bad_id(message: str) -> InvalidInput:
    return InvalidInput(message, reason=Reason.BAD_ID, field="id")
