"""Protobuf messages from arguments, with the checks that need no server.

The server checks the rest (an empty text, too many tokens).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar, Unpack

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.options import (
    Activation,
    Aggregation,
    ClassifyOptions,
    OffsetUnit,
    Priority,
    Truncation,
    WindowOptions,
)
from classwire.results import StreamItem, TextInput
from classwire.v1 import classwire_pb2 as pb

from . import enums

Elements = TypeVar("Elements")
T = TypeVar("T")

MAX_MESSAGE_BYTES = 1 << 20
"""Maximum size of a message of several texts: a quarter of gRPC's default limit."""

LONGEST_TIME_S = 1e9
"""About 31 years. A much longer timeout overflows inside gRPC, and ends the call at once."""


def classify_options(
    *,
    top_k: int | None = None,
    min_score: float | None = None,
    activation: Activation | None = None,
    truncation: Truncation | None = None,
    include_logits: bool = False,
    include_tokens: bool = False,
    include_windows: bool = False,
    offset_unit: OffsetUnit | None = None,
    priority: Priority | None = None,
    **windows: Unpack[WindowOptions],
) -> pb.ClassifyOptions:
    """The options of a classify call. InvalidInputError or TypeError names a wrong one."""
    check_names(windows, ClassifyOptions.__optional_keys__, "classify")
    return pb.ClassifyOptions(
        top_k=top_k_number(top_k),
        min_score=min_score,
        activation=enums.ACTIVATION.number(activation, "activation"),
        truncation=enums.TRUNCATION.number(truncation, "truncation"),
        include_logits=include_logits,
        include_tokens=include_tokens,
        include_windows=include_windows,
        windows=window_options(**windows),
        offset_unit=enums.OFFSET_UNIT.number(offset_unit, "offset_unit"),
        priority=enums.PRIORITY.number(priority, "priority"),
    )


def check_names(given: Iterable[str], known: Collection[str], call: str) -> None:
    """Raise TypeError for a name that is not among those of the options of `call`."""
    for name in given:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {similar[0]!r}?" if similar else ""
            raise TypeError(f"{call} has no option {name!r}{hint}")


def window_options(
    *,
    window_tokens: int | None = None,
    overlap_tokens: int | None = None,
    aggregation: Aggregation | None = None,
) -> pb.WindowOptions | None:
    """How to read a text in windows; None if no option is given."""
    if window_tokens is None and overlap_tokens is None and aggregation is None:
        return None
    options = pb.WindowOptions(
        aggregation=enums.WINDOW_AGGREGATION.number(aggregation, "aggregation")
    )
    if window_tokens is not None:
        options.window_tokens = count(window_tokens, "window_tokens")
    if overlap_tokens is not None:
        options.overlap_tokens = count(overlap_tokens, "overlap_tokens", least=0)
    return options


def text_input(
    text: str | TextInput, text_pair: str | None = None, *, field: str = "input"
) -> pb.TextInput:
    """A text or pair; InvalidInputError if UTF-8 cannot encode it, TypeError if it is not text."""
    if isinstance(text, TextInput):
        if text_pair is not None:
            raise TypeError("text_pair is given twice: as an argument and in the TextInput")
        return text_input(text.text, text.text_pair, field=field)
    message = pb.TextInput(text=unicode(text, f"{field}.text"))
    if text_pair is not None:
        message.text_pair = unicode(text_pair, f"{field}.text_pair")
    return message


def element_input(element: str | TextInput, field: str) -> pb.TextInput:
    """An element of a batch or stream, which is data: InvalidInputError if it is not text.

    The error names the type, never the value.
    """
    try:
        return text_input(element, field=field)
    except TypeError:
        given = element if isinstance(element, TextInput) else TextInput(element)
    is_pair = isinstance(given.text, str)
    path = f"{field}.text_pair" if is_pair else f"{field}.text"
    kind = type(given.text_pair if is_pair else given.text).__name__
    raise InvalidInputError(
        f"{path} must be a str, not {kind}", reason=Reason.BAD_ENCODING, field=path
    )


def elements(items: Elements) -> Elements:
    """The same iterable; TypeError if it is a single text, whose characters would be the texts."""
    if isinstance(items, (str, bytes, TextInput, StreamItem)):
        raise TypeError(f"expected an iterable of texts, not one {type(items).__name__}")
    return items


def name(value: str | None, field: str) -> str:
    """A name as the contract carries it: empty if None."""
    return "" if value is None else unicode(value, field)


def unicode(value: str, field: str) -> str:
    """The same string; InvalidInputError, which names `field`, if UTF-8 cannot encode it."""
    if not isinstance(value, str):
        raise TypeError(f"{field} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        position = error.start
    else:
        return value
    # Raised outside of the handler, since the UnicodeEncodeError contains the text.
    raise InvalidInputError(
        f"{field} has an unpaired surrogate at character {position}: half of a character, "
        "which UTF-8 cannot encode",
        reason=Reason.BAD_ENCODING,
        field=field,
        metadata={"position": str(position)},
    )


def batches(
    items: Iterable[T], max_items: int, size_bytes: Callable[[T], int]
) -> Iterator[list[T]]:
    """Split items into messages, by number and by size. One over the size limit is alone in its
    message.
    """
    batch: list[T] = []
    batch_bytes = 0
    for item in items:
        item_bytes = size_bytes(item)
        if batch and (len(batch) == max_items or batch_bytes + item_bytes > MAX_MESSAGE_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += item_bytes
    if batch:
        yield batch


def top_k_number(top_k: int | None) -> int:
    """A `top_k` as the contract carries it: 0, which stands for all, if None."""
    return 0 if top_k is None else count(top_k, "top_k")


def count(value: int, option: str, *, least: int = 1) -> int:
    """A number from `least` up that a uint32 holds."""
    if not isinstance(value, int):
        raise TypeError(f"{option} must be an int, not {type(value).__name__}")
    if not least <= value < 1 << 32:
        raise InvalidInputError(
            f"{option} must be at least {least} and below 2**32, not {value}",
            reason=Reason.BAD_OPTION,
            field=f"options.{option}",
        )
    return value


def seconds(value: float, option: str) -> float | None:
    """A positive time; None for no limit: `math.inf`, or longer than gRPC can count."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {type(value).__name__}")
    if not value > 0:
        message = f"{option} must be positive, not {value}"
        raise InvalidInputError(message, reason=Reason.BAD_OPTION, field=option)
    return None if value > LONGEST_TIME_S else float(value)
