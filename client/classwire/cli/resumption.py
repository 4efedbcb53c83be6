"""The output of an interrupted run: how far it got, and whether it belongs to the input."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failures import WrongUse
from .records import json_line
from .rows import MAX_LINE_BYTES, Columns, Row


@dataclass(frozen=True, slots=True)
class Written:
    """The complete lines of an output: one for each row from the first on."""

    rows: int = 0
    errors: int = 0
    output_bytes: int = 0
    """Where the complete lines end; an incomplete one may follow, and is removed."""
    input_bytes: int = 0
    """Where the last of their rows ends in the input."""


def identity(row: Row, columns: Columns) -> dict[str, object]:
    """The first fields of an output line, which name its row."""
    return {"row": row.index} | ({"id": row.key} if columns.key else {})


def read_written(
    output: Path, rows: Iterator[Row], columns: Columns
) -> tuple[Written, Iterator[Row]]:
    """Return the lines that the output already has, and the rows that it lacks.

    Raises WrongUse if it is not the output of these rows and columns.
    """
    written = Written()
    with output.open("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES):
            number = written.rows + 1
            row = next(rows, None)
            if row is None:
                raise _foreign(output, f"line {number} is past the last row of the input")
            # Compare bytes: JSON values may equal another one (1 == 1.0), or not themselves (NaN).
            start = json_line(identity(row, columns))[:-2] + b", "
            if not line.startswith(start[: len(line)]):
                raise _foreign(output, f"line {number} is not of row {row.index} of the input")
            if not line.endswith(b"\n"):
                return written, itertools.chain([row], rows)
            record = _record(line)
            if ("id" in record) is not bool(columns.key) or not record.keys() & {"scores", "error"}:
                raise _foreign(output, f"line {number} was written with other options")
            written = Written(
                written.rows + 1,
                written.errors + ("error" in record),
                written.output_bytes + len(line),
                row.end_bytes,
            )
    return written, rows


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _foreign(output: Path, why: str) -> WrongUse:
    return WrongUse(f"{output} cannot be resumed: {why}; --force overwrites it")
