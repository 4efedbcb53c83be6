"""A row of data, and the columns that its texts and its id come from."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from classwire import ClasswireError, InvalidInputError, Reason, TextInput
from classwire.cli.failures import WrongUse

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character of JSON's escapes, or a byte that "surrogateescape" kept."""
_MAX_LEVELS = 20
_SHOWN_NAMES = 300


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

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the columns to read."""
        return tuple(filter(None, (self.text, self.pair, self.key)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in its file, for its error and for progress."""

    index: int
    name: str
    """The place for messages, such as `line 7`."""
    end_bytes: int
    broken: str
    """What is wrong with a text that has half a character, or a byte that could not be decoded."""

    def row(self, record: Mapping[str, object], columns: Columns) -> Row:
        """Return the row of a record. A text or an id that cannot be sent or copied is an error."""
        key = record.get(columns.key) if columns.key else None
        if not _writable(key):
            return self.error(f"{self.name}: {columns.key!r} is no id that JSON can hold")
        return Row(self.index, key, self._content(record, columns), self.end_bytes)

    def error(self, message: str, field: str = "", key: str | None = None) -> Row:
        """Return a row that has an error in place of a text, with the id `key` if JSON can hold
        it.
        """
        known = key if _writable(key) else None
        return Row(self.index, known, malformed(message, field), self.end_bytes)

    def _content(
        self, record: Mapping[str, object], columns: Columns
    ) -> TextInput | InvalidInputError:
        text = record.get(columns.text)
        pair = record.get(columns.pair) if columns.pair else None
        if text is None:
            message = f"{self.name} has no {columns.text!r}"
            return InvalidInputError(message, reason=Reason.EMPTY_TEXT, field=columns.text)
        for name, value in ((columns.text, text), (columns.pair, pair)):
            if value is not None and not isinstance(value, str):
                kind = type(value).__name__
                return malformed(f"{self.name}: {name!r} holds no text but {kind}", name)
            if isinstance(value, str) and _SURROGATE.search(value):
                return malformed(f"{self.name}: {name!r} {self.broken}", name)
        return TextInput(str(text), pair if isinstance(pair, str) else None)


def malformed(message: str, field: str = "") -> InvalidInputError:
    """Return the error of a row that cannot be read."""
    return InvalidInputError(message, reason=Reason.BAD_ENCODING, field=field)


def no_column(file: str, wanted: str, present: Iterable[str], advice: str) -> WrongUse:
    """Return the error for a column that a file has not, with those that it has."""
    names = ", ".join(present) or "none"
    if len(names) > _SHOWN_NAMES:
        names = f"{names[:_SHOWN_NAMES]}…"
    return WrongUse(f"{file} has no column {wanted!r}; the columns are: {names} ({advice})")


def similar(names: Iterable[str], wanted: str) -> str | None:
    """Return a name that differs from the wanted one only in case and in spaces around it."""
    alike = (name for name in names if name.strip().casefold() == wanted.strip().casefold())
    return next(alike, None)


def _writable(value: object, levels: int = _MAX_LEVELS) -> bool:
    """Whether JSON in UTF-8 can hold a value; not one nested so deeply that Python gives up."""
    if isinstance(value, str):
        return not _SURROGATE.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return levels > 0 and all(_writable(each, levels - 1) for each in value)
    return True
