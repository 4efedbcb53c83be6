"""Rows of JSON Lines: a JSON object on each line."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from classwire import InvalidInputError
from classwire.cli.failures import WrongUse

from .lines import Line, Lines
from .row import Columns, Place, Row, malformed, no_column


def json_rows(lines: Lines, columns: Columns) -> Iterator[Row]:
    """Yield a row for each line that is not blank. A row may lack the second text and the id.

    Raises WrongUse at the end if there are objects, and none of them has one of the columns; and at
    the start if the file is JSON, but evidently no JSON Lines.
    """
    filled = (line for line in lines if line.content is None or not line.content.isspace())
    first = list(islice(filled, 1))
    if first and _begins_json(first[0]):
        first += islice(filled, 1)
        _reject_json(first, lines)
    names: list[str] = []
    unseen = set(columns.named)
    for index, line in enumerate(chain(first, filled)):
        place = Place(index, f"line {line.number}", line.end_bytes, broken="has half a character")
        record = _record(lines, line)
        if isinstance(record, InvalidInputError):
            yield Row(index, None, record, line.end_bytes)
            continue
        names = names or list(record)
        unseen -= record.keys()
        twice = record.repeated.intersection(columns.named)
        if twice:
            yield place.error(f"line {line.number} has {min(twice)!r} more than once")
        else:
            yield place.row(record, columns)
    if names:
        for wanted in unseen:
            raise no_column(lines.name, wanted, names, "of its first row; no other row has it")


class _Record(dict[str, object]):
    """A JSON object, and the names that it has more than once."""

    repeated: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, object]]) -> _Record:
    record = _Record(pairs)
    if len(record) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        record.repeated = frozenset(name for name, count in counts.items() if count > 1)
    return record


_JSON = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=lambda _: None,  # NaN and Infinity, which JSON has not: a value that is missing
)


def _record(lines: Lines, line: Line) -> _Record | InvalidInputError:
    text = lines.decode(line)
    if isinstance(text, InvalidInputError):
        return text
    try:
        record = _JSON.decode(text)
    except (ValueError, RecursionError):
        return malformed(f"line {line.number} is not JSON")
    if not isinstance(record, _Record):
        return malformed(f"line {line.number} is no JSON object")
    return record


def _begins_json(line: Line) -> bool:
    content = (line.content or b"").strip()
    return content == b"{" or content.startswith(b"[")


def _reject_json(first: list[Line], lines: Lines) -> None:
    """Raise WrongUse unless the second line is an object, so that only the first is wrong."""
    if len(first) == 2 and isinstance(_record(lines, first[1]), _Record):
        return
    program = ".[]" if (first[0].content or b"").lstrip().startswith(b"[") else "."
    raise WrongUse(
        f"{lines.name} is JSON, but not one object on each line; convert it with jq -c '{program}'"
    )
