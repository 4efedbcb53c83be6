"""The output of an interrupted run: how far it got, and whether it belongs to the input."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .failures import WrongUse
from .outputs import JsonLines, Table
from .rows import Row


@dataclass(frozen=True, slots=True)
class Written:
    """The complete results in an output: one for each row from the first on."""

    rows: int = 0
    errors: int = 0
    head: bytes = b""
    """The header that the output has."""
    output_bytes: int = 0
    """Where the complete results end; an incomplete one may follow, and is removed."""
    input_bytes: int = 0
    """Where the last of their rows ends in the input."""


def read_written(
    output: Path, format: JsonLines | Table, rows: Iterator[Row]
) -> tuple[Written, Iterator[Row]]:
    """Return the results that the output already has, and the rows that it lacks.

    Raises WrongUse if it is not the output of these rows and columns.
    """
    head, number = b"", 1
    written = Written()
    with output.open("rb") as file:
        results = format.results(file)
        if format.fixed_head:
            head = next(results, b"")
            complete = head.endswith(b"\n")
            if not head.startswith(format.fixed_head[: None if complete else len(head)]):
                raise foreign(output, "line 1 is not the header of these options")
            if not complete:
                return written, rows
            number += 1
        for result in results:
            row = next(rows, None)
            if row is None:
                raise foreign(output, f"line {number} is past the last row of the input")
            # Compare bytes: JSON values may equal another one (1 == 1.0), or not themselves (NaN).
            start = format.start(row)
            if not result.startswith(start[: len(result)]):
                raise foreign(output, f"line {number} is not of row {row.index} of the input")
            if not result.endswith(b"\n"):
                return written, itertools.chain([row], rows)
            failed = format.failed(result)
            if failed is None:
                raise foreign(output, f"line {number} was written with other options")
            written = Written(
                written.rows + 1,
                written.errors + failed,
                head,
                (written.output_bytes or len(head)) + len(result),
                row.end_bytes,
            )
            number += result.count(b"\n")
    return written, rows


def foreign(output: Path, why: str) -> WrongUse:
    """Return the error for an output that this run cannot continue."""
    return WrongUse(f"{output} cannot be resumed: {why}; --force overwrites it")
