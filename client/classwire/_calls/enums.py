"""The contract's enums as the lower-case words that callers write and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.v1 import classwire_pb2 as pb


class EnumWords:
    """One enum: `ACTIVATION_SOFTMAX` is `softmax` to the caller, UNSPECIFIED is None."""

    def __init__(self, enum: Any) -> None:
        names: dict[int, str] = {number: name for name, number in enum.items()}
        prefix = names[0].removesuffix("UNSPECIFIED")
        self._words = {
            number: name.removeprefix(prefix).lower() for number, name in names.items() if number
        }
        self._numbers = {word: number for number, word in self._words.items()}

    def number(self, word: str | None, option: str) -> Any:
        """The number for a word; 0 for None. The error for an unknown word lists the choices."""
        if word is None:
            return 0
        if not isinstance(word, str):
            raise TypeError(f"{option} must be a str, not {type(word).__name__}")
        try:
            return self._numbers[word]
        except KeyError:
            raise InvalidInputError(
                f"{option} must be one of {', '.join(self._numbers)}",
                reason=Reason.UNKNOWN_ENUM,
                field=f"options.{option}",
            ) from None

    def word(self, number: int) -> str | None:
        """The word for a number; its digits if a newer server sends a value not known here."""
        return self._words.get(number, str(number)) if number else None


ACTIVATION = EnumWords(pb.Activation)
EXECUTION = EnumWords(pb.Execution)
LAYOUT = EnumWords(pb.Layout)
MODEL_STATE = EnumWords(pb.ModelState)
OFFSET_UNIT = EnumWords(pb.OffsetUnit)
PRECISION = EnumWords(pb.Precision)
PRIORITY = EnumWords(pb.Priority)
PROBLEM_TYPE = EnumWords(pb.ProblemType)
TRUNCATION = EnumWords(pb.Truncation)
WINDOW_AGGREGATION = EnumWords(pb.WindowAggregation)

_BY_OPTION: Mapping[str, EnumWords] = {
    "activation": ACTIVATION,
    "aggregation": WINDOW_AGGREGATION,
    "offset_unit": OFFSET_UNIT,
    "priority": PRIORITY,
    "truncation": TRUNCATION,
}


def sent(field: str, number: str) -> str | None:
    """The option at a field's path, and the word that its number is; None if unknown here."""
    option = field.rpartition(".")[2]
    if option not in _BY_OPTION or not number.isdecimal():
        return None
    return f"{option} {_BY_OPTION[option].word(int(number))!r}"
