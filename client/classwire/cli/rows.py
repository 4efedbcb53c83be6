"""Rows of texts, read from CSV, JSON Lines, plain lines or standard input in bounded memory.

A row without a usable text becomes a row with an error, and the rows after it are still read. Only
an error of the whole file (a missing column, UTF-16) ends the reading.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from classwire import ClasswireError, InvalidInputError, Reason, TextInput

from .failures import WrongUse

MAX_LINE_BYTES = 16 * 2**20
"""Bound on a line, and on a CSV row of several lines: far above any server's limit on a text."""

_CHUNK_BYTES = 2**16
_UNDECODED = re.compile("[\udc80-\udcff]")  # how "surrogateescape" keeps bytes that are not UTF-8


@dataclass(frozen=True, slots=True)
class Row:
    """One row of data."""

    index: int
    """0-based number of the data row; headers, and blank lines of CSV and JSONL, do not count."""
    key: object
    """The value of the id column; None where there is none."""
    content: TextInput | ClasswireError
    """The text, or the error of a row without one."""
    end_bytes: int = 0
    """Where the row ends in its file, for progress."""


@dataclass(frozen=True)
class Columns:
    """The columns of text, second text and id; empty where there is none."""

    text: str = ""
    pair: str = ""
    key: str = ""

    def require(self, present: Iterable[str], where: str) -> None:
        """Raise WrongUse if a named column is missing or there twice."""
        names = list(present)
        for wanted in filter(None, (self.text, self.pair, self.key)):
            if wanted not in names:
                there = ", ".join(names) or "none"
                raise WrongUse(f"{where} has no column {wanted!r}; the columns are: {there}")
            if names.count(wanted) > 1:
                raise WrongUse(f"{where} has {names.count(wanted)} columns named {wanted!r}")


class Lines:
    """The lines of a byte stream as bytes, with line numbers and offsets.

    `read(n)` returns up to n bytes as soon as there are any, and none at the end.
    """

    def __init__(self, read: Callable[[int], bytes | None], name: str) -> None:
        self.name = name
        self.number = 0
        """1-based number of the last line."""
        self.end_bytes = 0
        """Where that line ends."""
        self._lines = self._split(read)

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self.number += 1
            self.end_bytes += len(line)
            if self.number == 1:
                line = self._without_byte_order_mark(line)
            yield line

    def _split(self, read: Callable[[int], bytes | None]) -> Iterator[bytes]:
        rest = b""
        while chunk := read(_CHUNK_BYTES):
            if b"\n" not in chunk:
                rest += chunk
            else:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
            if len(rest) > MAX_LINE_BYTES:
                number = self.number + 1
                raise WrongUse(f"{self.name}: line {number} is over {MAX_LINE_BYTES:,} bytes")
        if rest:
            yield rest

    def _without_byte_order_mark(self, line: bytes) -> bytes:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise WrongUse(f"{self.name} is UTF-16; save it as UTF-8")
        return line.removeprefix(b"\xef\xbb\xbf")

    def decode(self, line: bytes) -> str | InvalidInputError:
        """Return the line as text without its line end, or an error that names the wrong byte."""
        try:
            return line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            return _malformed(
                f"line {self.number} is not UTF-8: byte 0x{line[error.start]:02x} "
                f"at offset {self.end_bytes - len(line) + error.start}"
            )


@contextmanager
def open_rows(path: Path, columns: Columns) -> Iterator[Iterator[Row]]:
    """Open a file of rows, whose suffix is its format.

    Raises WrongUse for an unknown suffix or a missing column before it yields a row.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".txt": _txt_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WrongUse(f"{path}: unknown format; known suffixes are {', '.join(readers)}")
    if reader is not _txt_rows and not columns.text:
        raise WrongUse(f"{path}: name the column of the text with --column")
    if reader is _txt_rows and columns != Columns():
        raise WrongUse(f"{path}: a .txt file has no columns; each line is a text")
    with path.open("rb", buffering=0) as file:
        rows = reader(Lines(file.read, str(path)), columns)
        first = list(itertools.islice(rows, 1))  # reads the header, to report its errors now
        yield itertools.chain(first, rows)


def line_rows(read: Callable[[int], bytes | None], name: str) -> Iterator[Row]:
    """Return every line of a byte stream as a row, blank ones too."""
    return _txt_rows(Lines(read, name), Columns())


def _txt_rows(lines: Lines, _: Columns) -> Iterator[Row]:
    for index, line in enumerate(lines):
        text = lines.decode(line)
        content = TextInput(text) if isinstance(text, str) else text
        yield Row(index, None, content, lines.end_bytes)


def _jsonl_rows(lines: Lines, columns: Columns) -> Iterator[Row]:
    filled = (line for line in lines if line.strip())
    for index, line in enumerate(filled):
        record = _json_object(lines, line)
        if isinstance(record, InvalidInputError):
            yield Row(index, None, record, lines.end_bytes)
            continue
        if index == 0:
            columns.require(record, f"{lines.name}: line {lines.number}")
        key = record.get(columns.key) if columns.key else None
        yield Row(index, key, _content(record, columns, lines.number), lines.end_bytes)


def _json_object(lines: Lines, line: bytes) -> dict[str, object] | InvalidInputError:
    text = lines.decode(line)
    if isinstance(text, InvalidInputError):
        return text
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return _malformed(f"line {lines.number} is not JSON")
    if not isinstance(record, dict):
        return _malformed(f"line {lines.number} is no JSON object")
    return record


def _csv_rows(lines: Lines, columns: Columns) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)
    # Keep bytes that are not UTF-8: they matter only in the columns that are used.
    decoded = (line.decode("utf-8", "surrogateescape") for line in lines)
    # strict: an unclosed quote is an error, not a text as long as the file
    reader = csv.reader(decoded, strict=True)
    try:
        names = next(filter(None, reader), [])
    except csv.Error as error:
        raise WrongUse(f"{lines.name}: the header is not CSV: {error}") from error
    columns.require(names, lines.name)
    for index in itertools.count():
        start = lines.number + 1
        try:
            values = next(filter(None, reader), None)
        except csv.Error as error:
            bad = _malformed(f"the row from line {start} is not CSV: {error}")
            yield Row(index, None, bad, lines.end_bytes)
            continue
        if values is None:
            return
        where = lines.number
        if len(values) != len(names):
            bad = _malformed(f"line {where} has {len(values)} fields, the header {len(names)}")
            yield Row(index, None, bad, lines.end_bytes)
            continue
        record = dict(zip(names, values, strict=True))
        key = record.get(columns.key) if columns.key else None
        yield Row(index, key, _content(record, columns, where), lines.end_bytes)


def _content(
    record: Mapping[str, object], columns: Columns, line: int
) -> TextInput | InvalidInputError:
    text = record.get(columns.text)
    pair = record.get(columns.pair) if columns.pair else None
    if text is None:
        message = f"line {line} has no {columns.text!r}"
        return InvalidInputError(message, reason=Reason.EMPTY_TEXT, field=columns.text)
    for name, value in ((columns.text, text), (columns.pair, pair)):
        if value is not None and not isinstance(value, str):
            kind = type(value).__name__
            return _malformed(f"line {line}: {name!r} holds no text but {kind}", field=name)
        if isinstance(value, str) and _UNDECODED.search(value):
            return _malformed(f"line {line}: {name!r} is not UTF-8", field=name)
    return TextInput(str(text), pair if isinstance(pair, str) else None)


def _malformed(message: str, field: str = "") -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_ENCODING, field=field)
