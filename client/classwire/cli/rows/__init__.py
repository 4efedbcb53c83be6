"""Rows of texts, read from CSV, TSV, JSON Lines, plain lines or Parquet in bounded memory.

A row without a usable text becomes a row with an error, and the rows after it are still read. Only
an error of the whole file (a missing column, damage in compressed data) ends the reading.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from classwire import TextInput
from classwire.cli.failures import WrongUse
from classwire.cli.row_options import STANDARD

from .delimited import Dialect, delimited_rows
from .json_lines import json_rows
from .lines import MAX_LINE_BYTES, Lines
from .row import Columns, Row
from .source import Read, Source, standard_input

__all__ = [
    "MAX_LINE_BYTES",
    "Columns",
    "InputFile",
    "Row",
    "line_rows",
    "open_rows",
    "standard_input",
]

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
    ".parquet": "parquet",
}
"""The format of a file, by its suffix."""

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_FIRST_ROWS = 1_000
_FIRST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of rows, and how to read it."""

    path: Path
    """`-` is standard input."""
    columns: Columns = field(default_factory=Columns)
    format: str | None = None
    """One of `FORMATS`; None means the suffix's."""
    delimiter: str | None = None
    quotes: bool = True
    """Whether quotes enclose fields of CSV and TSV."""
    encoding: str | None = None
    """None means UTF-8, or what a byte order mark says."""

    @property
    def name(self) -> str:
        """The name for messages."""
        return "standard input" if self.path == STANDARD else str(self.path)

    @property
    def size_bytes(self) -> int | None:
        """Size of the file; None for standard input."""
        return None if self.path == STANDARD else self.path.stat().st_size

    def resolved_format(self) -> str:
        """Return the format. Raises WrongUse if it is unknown, or other options do not fit it."""
        if self.path.is_dir():
            raise WrongUse(
                f"{self.name} is a folder; `classify` and `zero-shot` read the Parquet files of "
                "one, and write into another: name it with --output"
            )
        suffixes = self.path.suffixes
        suffix = "".join(suffixes[-2:-1] if self._compressed else suffixes[-1:]).lower()
        known = self.format or FORMATS.get(suffix)
        if known is None and self.path == STANDARD:
            raise WrongUse("standard input has no suffix: name its --format")
        if known is None:
            known_suffixes = ", ".join(FORMATS)
            raise WrongUse(
                f"{self.name}: unknown format; known suffixes are {known_suffixes}, also with .gz; "
                "or name the --format"
            )
        if known == "txt" and self.columns != Columns():
            raise WrongUse(f"{self.name}: plain text has no columns; each line is a text")
        if known != "txt" and not self.columns.text:
            raise WrongUse(f"{self.name}: name the column of the text with --column")
        if known not in _DELIMITERS and (self.delimiter is not None or not self.quotes):
            raise WrongUse(f"{self.name}: --delimiter and --no-quotes are for csv and tsv")
        if known == "parquet" and self.path == STANDARD:
            raise WrongUse("standard input cannot be Parquet, which is not read from its start")
        if known == "parquet" and (self._compressed or self.encoding is not None):
            raise WrongUse(f"{self.name}: Parquet goes with neither .gz nor --encoding")
        return known

    @property
    def _compressed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def rows(self, read: Read) -> Iterator[Row]:
        """Yield the rows of these bytes."""
        format = self.resolved_format()
        lines = Lines(Source(read, self.name, self.encoding, compressed=self._compressed))
        if format in _DELIMITERS:
            dialect = Dialect(self.delimiter or _DELIMITERS[format], self.quotes)
            return delimited_rows(lines, self.columns, dialect)
        if format == "jsonl":
            return json_rows(lines, self.columns)
        return _text_rows(lines)


@contextmanager
def open_rows(file: InputFile) -> Iterator[Iterator[Row]]:
    """Open a file of rows.

    Raises WrongUse before it yields a row, if the format, a column or the start of the file is
    wrong. Of a regular file it reads several rows for that.
    """
    format = file.resolved_format()
    with ExitStack() as opened:
        if format == "parquet":
            from .parquet import RowGroups

            yield opened.enter_context(RowGroups(file.path, file.columns)).rows()
            return
        if file.path == STANDARD:
            read: Read = standard_input()
        else:
            read = opened.enter_context(file.path.open("rb", buffering=0)).read
        rows = file.rows(read)
        # A pipe may wait for the first row's result before it gives the next row.
        wanted = _FIRST_ROWS if file.path != STANDARD and file.path.is_file() else 1
        first = []
        for row in rows:
            first.append(row)
            if len(first) == wanted or row.end_bytes > _FIRST_BYTES:
                break
        yield itertools.chain(first, rows)


def line_rows(read: Read, name: str, encoding: str | None = None) -> Iterator[Row]:
    """Return every line of a byte stream as a row, blank ones too."""
    return _text_rows(Lines(Source(read, name, encoding)))


def _text_rows(lines: Lines) -> Iterator[Row]:
    for index, line in enumerate(lines):
        text = lines.decode(line)
        content = TextInput(text) if isinstance(text, str) else text
        yield Row(index, None, content, line.end_bytes)
