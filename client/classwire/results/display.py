"""How results look in a notebook, and as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from classwire.errors import ClasswireError

_MOST_ELEMENTS = 3
"""How many elements of a tuple are shown."""
_LONGEST_STR = 40


class Result:
    """Base of the results, which are dataclasses: a `repr` of one line, and `to_dict`.

    The `repr` leaves out attributes that are None or empty, and those with `field(repr=False)`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (
            f"{each.name}={_short(value)}"
            for each in _fields(self)
            if each.repr and (value := getattr(self, each.name)) not in (None, ())
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict of values that JSON has: a result in it as a dict too, a
        tuple as a list.
        """
        plain: dict[str, Any] = {}
        for each in _fields(self):
            value = getattr(self, each.name)
            if isinstance(value, ClasswireError):
                plain |= value.to_dict()
            else:
                plain[each.name] = _plain(value)
        return plain

    def _brief(self) -> str:
        """The `repr` inside that of another result."""
        return repr(self)


def _fields(result: Result) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cast(Any, result))


def _short(value: object) -> str:
    if isinstance(value, Result):
        return value._brief()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) > _LONGEST_STR:
        return repr(value[: _LONGEST_STR - 3] + "...")
    if isinstance(value, tuple):
        shown = [_short(each) for each in value[:_MOST_ELEMENTS]]
        left = len(value) - len(shown)
        return f"({', '.join(shown)}{f', ... {left} more' if left else ''})"
    return repr(value)


def _plain(value: object) -> object:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
