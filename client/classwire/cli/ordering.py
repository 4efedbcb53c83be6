"""Outcomes of a stream, put back beside their rows and into their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from .. import ClasswireError, Client, Outcome, StreamItem
from .rows import Row

Emit = Callable[[Row, Outcome], None]

_HELD_ROWS = 4096


class RowOrder:
    """Hands each row's outcome to `emit` in the order of the rows.

    Rows come in on the thread that sends the stream, outcomes on the one that reads it; `emit` runs
    on either, one call at a time, so a bad line is answered at once even when nothing else follows.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._changed = threading.Condition()  # guards _rows and _outcomes
        self._rows: deque[Row] = deque()
        self._outcomes: dict[int, Outcome] = {}
        self.errors = 0
        """How many of the rows that were emitted have no scores."""

    def expect(self, row: Row) -> None:
        """Take the next row; waits while too many bad rows pile up behind an unanswered one."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._rows) < _HELD_ROWS)
            self._rows.append(row)

    def settle(self, index: int, outcome: Outcome) -> None:
        """Take a row's outcome, and emit all that is now in order."""
        with self._changed:
            self._outcomes[index] = outcome
            while self._rows and self._rows[0].index in self._outcomes:
                row = self._rows.popleft()
                known = self._outcomes.pop(row.index)
                self.errors += isinstance(known, ClasswireError)
                self._emit(row, known)
            self._changed.notify_all()


def classify_rows(client: Client, rows: Iterable[Row], emit: Emit, **options: Any) -> int:
    """Stream rows through the server, hand each outcome to `emit` in the order of the rows.

    Returns how many outcomes are errors. `options` are those of `Client.classify_stream`. Raises
    ClasswireError when the stream ends early.
    """
    order = RowOrder(emit)

    def items() -> Iterator[StreamItem]:
        for row in rows:
            order.expect(row)
            if isinstance(row.content, ClasswireError):
                order.settle(row.index, row.content)
            else:
                yield StreamItem(str(row.index), row.content)

    with closing(client.classify_stream(items(), in_order=True, **options)) as outcomes:
        for result in outcomes:
            order.settle(int(result.id), result.outcome)
    return order.errors
