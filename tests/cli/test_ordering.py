"""Outcomes are printed in the order of their rows."""

from classwire import InternalError, Outcome, TextInput
from classwire.cli.ordering import RowOrder
from classwire.cli.rows import Row


def test_a_row_waits_for_those_before_it() -> None:
    """An early outcome is held back, and the next in order is printed at once."""
    emitted: list[int] = []

    def emit(row: Row, outcome: Outcome) -> None:
        emitted.append(row.index)

    order = RowOrder(emit)
    for index in range(3):
        order.expect(Row(index, None, TextInput("a")))
    order.settle(1, InternalError("one"))
    assert emitted == []
    order.settle(0, InternalError("zero"))
    assert emitted == [0, 1]
    order.settle(2, InternalError("two"))
    assert emitted == [0, 1, 2]
    assert order.errors == 3
