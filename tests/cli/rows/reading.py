"""Files of rows, written and read for tests."""

from pathlib import Path
from typing import Any

from classwire import InvalidInputError, TextInput
from classwire.cli.rows import Columns, InputFile, Row, open_rows

TEXT = Columns(text="text")


def rows_of(path: Path, columns: Columns = TEXT, **how: Any) -> list[Row]:
    """Return all rows of a file."""
    with open_rows(InputFile(path, columns, **how)) as rows:
        return list(rows)


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def problem(row: Row) -> str:
    """Return the message of a row that holds no text."""
    assert isinstance(row.content, InvalidInputError)
    return row.content.message


def shown(rows: list[Row]) -> list[str]:
    """Return each row's text, or ! and the message of its error."""
    return [
        row.content.text if isinstance(row.content, TextInput) else f"!{problem(row)}"
        for row in rows
    ]
