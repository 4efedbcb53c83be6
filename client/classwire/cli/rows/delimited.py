"""Rows of CSV and TSV.

A row that is not CSV, as with a quote that is never closed, costs its first line: the reader goes
on with the second, so that the rows which the quote seemed to contain are read.
"""

import csv
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from classwire.cli.failures import WrongUse

from .lines import MAX_LINE_BYTES, Line, Lines
from .row import Columns, Place, Row, no_column, similar

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_OVER = f"over {MAX_LINE_BYTES:,} bytes"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How fields are separated, and whether quotes may enclose them."""

    delimiter: str
    quotes: bool = True


def delimited_rows(lines: Lines, columns: Columns, dialect: Dialect) -> Iterator[Row]:
    """Yield the rows below the header, whose names the columns must be.

    Raises WrongUse for a wrong header, or if no row has as many fields as the header.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    feed = _Feed(lines)
    # strict: an unclosed quote is an error, not a text as long as the file
    reader = csv.reader(
        feed,
        strict=True,
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_MINIMAL if dialect.quotes else csv.QUOTE_NONE,
    )
    names = _header(reader, feed, lines)
    _check_columns(names, columns, lines.name, feed.row[0].number)
    # Where a text contains the delimiter, only the fields before it are in their columns.
    text = min(names.index(name) for name in (columns.text, columns.pair) if name)
    key = names.index(columns.key) if columns.key else len(names)
    broken = f"is not {lines.encoding} (see --encoding)"
    fitting = mismatched = 0
    for index in itertools.count():
        values = _next_row(reader, feed)
        if values is None:
            break
        place = Place(index, f"line {feed.row[0].number}", feed.row[-1].end_bytes, broken)
        if isinstance(values, str):
            yield place.error(values)
        elif len(values) != len(names):
            mismatched += 1
            message = f"{place.name} has {len(values)} fields, the header {len(names)}"
            yield place.error(message, key=values[key] if key < min(len(values), text) else None)
        else:
            fitting += 1
            yield place.row(dict(zip(names, values, strict=True)), columns)
    if mismatched and not fitting:
        raise WrongUse(
            f"{lines.name}: no row has the {len(names)} fields of its header; quote a field "
            f"that contains {dialect.delimiter!r}, or name another --delimiter"
        )


class _Feed:
    """Decoded lines for csv.reader, which can go back to the second line of a row."""

    def __init__(self, lines: Lines) -> None:
        self.row: list[Line] = []
        """The lines of the row that is being read."""
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self._row_bytes = 0

    def begin(self) -> None:
        """Begin the next row."""
        self.row, self._row_bytes = [], 0

    def go_back(self) -> None:
        """Read the lines of the row again, except for the first."""
        self._again.extendleft(reversed(self.row[1:]))
        del self.row[1:]

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.row.append(line)
        if line.content is None:
            raise csv.Error(_OVER)
        self._row_bytes += len(line.content)
        if self._row_bytes > MAX_LINE_BYTES:
            raise csv.Error(_OVER)
        # Keep bytes that are not UTF-8: they matter only in the columns that are used.
        return line.content.decode("utf-8", "surrogateescape")


def _next_row(reader: Iterator[list[str]], feed: _Feed) -> list[str] | str | None:
    """Return the next row that is not blank, or what is wrong with it, or None at the end."""
    values: list[str] = []
    while not values:
        feed.begin()
        try:
            values = next(reader)
        except StopIteration:
            return None
        except csv.Error as error:
            feed.go_back()
            return f"line {feed.row[0].number}: {_described(error)}"
    return values


def _header(reader: Iterator[list[str]], feed: _Feed, lines: Lines) -> list[str]:
    values = _next_row(reader, feed)
    if values is None:
        raise WrongUse(f"{lines.name} is empty; its first line must name the columns")
    if isinstance(values, str):
        if b"\r" in (feed.row[0].content or b"").rstrip(b"\r\n"):
            raise lines.cr_ends()
        raise WrongUse(f"{lines.name}: its header is wrong: {values}")
    return values


def _check_columns(names: list[str], columns: Columns, file: str, line: int) -> None:
    for wanted in columns.named:
        places = [str(place) for place, name in enumerate(names, 1) if name == wanted]
        if len(places) > 1:
            where = " and ".join(places)
            raise WrongUse(f"{file}: line {line}: columns {where} have the same name, {wanted!r}")
        if not places:
            raise no_column(file, wanted, names, _advice(names, wanted))


def _advice(names: list[str], wanted: str) -> str:
    if name := similar(names, wanted):
        return f"is it {name!r}?"
    for sign, name in _DELIMITERS.items():
        if len(names) == 1 and sign in names[0]:
            return f"is the --delimiter a {name}?"
    return "its first line must name them"


def _described(error: csv.Error) -> str:
    message = str(error)
    if "expected after" in message:
        return "a field goes on after its closing quote, or a quote is not closed"
    if "end of data" in message:
        return "a quote is not closed"
    return "CR outside quotes" if "new-line character" in message else message
