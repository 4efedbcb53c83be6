"""Outcomes of a stream, matched with their rows and put into their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from classwire import ClasswireError, Client, Outcome, StreamItem

from .rows import Row

Emit = Callable[[Row, Outcome], None]

_HELD_ROWS = 4096


class RowOrder:
    """Hands each row's outcome to `emit` in the order of the rows.

    Rows arrive on the thread that sends the stream, outcomes on the one that reads it. `emit` runs
    on either, one call at a time, so a bad line gets its error at once even if no text follows.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._changed = threading.Condition()  # guards _rows and _outcomes
        self._rows: deque[Row] = deque()
        self._outcomes: dict[int, Outcome] = {}
        self.errors = 0
        """Number of emitted rows without scores."""

    def expect(self, row: Row) -> None:
        """Take the next row. Blocks while too many rows wait for an earlier one's outcome."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._rows) < _HELD_ROWS)
            self._rows.append(row)

    def settle(self, index: int, outcome: Outcome) -> None:
        """Take a row's outcome, and emit all rows whose turn it is."""
        with self._changed:
            self._outcomes[index] = outcome
            while self._rows and self._rows[0].index in self._outcomes:
                row = self._rows.popleft()
                known = self._outcomes.pop(row.index)
                self.errors += isinstance(known, ClasswireError)
                self._emit(row, known)
            self._changed.notify_all()


def classify_rows(client: Client, rows: Iterable[Row], emit: Emit, **options: Any) -> int:
    """Classify rows by a stream, and give each outcome to `emit` in the order of the rows.

    Returns the number of errors. `options` are those of `Client.classify_stream`. Raises
    ClasswireError if the stream ends early.
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
