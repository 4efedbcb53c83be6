"""Protobuf messages <-> the server's own types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Priority
from classwire_server.scoring import Activation
from classwire_server.tokenization import OffsetUnit, Text, Truncation

E = TypeVar("E", bound=Enum)

ACTIVATIONS: Mapping[Any, Activation] = {
    pb.ACTIVATION_SOFTMAX: Activation.SOFTMAX,
    pb.ACTIVATION_SIGMOID: Activation.SIGMOID,
    pb.ACTIVATION_IDENTITY: Activation.IDENTITY,
}
TRUNCATIONS: Mapping[Any, Truncation] = {
    pb.TRUNCATION_REJECT: Truncation.REJECT,
    pb.TRUNCATION_DROP_END: Truncation.DROP_END,
    pb.TRUNCATION_DROP_START: Truncation.DROP_START,
}
OFFSET_UNITS: Mapping[Any, OffsetUnit] = {
    pb.OFFSET_UNIT_UNICODE: OffsetUnit.UNICODE,
    pb.OFFSET_UNIT_UTF8: OffsetUnit.UTF8,
    pb.OFFSET_UNIT_UTF16: OffsetUnit.UTF16,
}
PRIORITIES: Mapping[Any, Priority] = {
    pb.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    pb.PRIORITY_BULK: Priority.BULK,
}


@dataclass(frozen=True)
class Options:
    """What a call asks for, with every default filled in but `truncation` (None: the model's)."""

    top_k: int
    min_score: float | None
    activation: Activation
    truncation: Truncation | None
    include_logits: bool
    include_tokens: bool
    offset_unit: OffsetUnit
    priority: Priority


def parse_enum(value: int, known: Mapping[Any, E], field: str) -> E | None:
    """The domain's value, None for UNSPECIFIED. Raises RequestError UNKNOWN_ENUM."""
    if value == 0:
        return None
    if value not in known:
        raise RequestError(
            Reason.UNKNOWN_ENUM,
            f"{value} is not a known value",
            field=field,
            metadata={"value": str(value)},
        )
    return known[value]


def parse_options(
    options: pb.ClassifyOptions, model_activation: Activation, priority: Priority, field: str
) -> Options:
    """The options of a call; `priority` is its default, `field` the path of the options.

    Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field.
    """
    activation = parse_enum(options.activation, ACTIVATIONS, f"{field}.activation")
    activation = activation or model_activation
    min_score = options.min_score if options.HasField("min_score") else None
    if min_score is not None:
        bounded = activation is not Activation.IDENTITY
        if not math.isfinite(min_score) or (bounded and not 0.0 <= min_score <= 1.0):
            raise RequestError(
                Reason.BAD_OPTION,
                f"min_score is not a finite number{' within 0 and 1' if bounded else ''}",
                field=f"{field}.min_score",
            )
    unit = parse_enum(options.offset_unit, OFFSET_UNITS, f"{field}.offset_unit")
    return Options(
        top_k=options.top_k,
        min_score=min_score,
        activation=activation,
        truncation=parse_enum(options.truncation, TRUNCATIONS, f"{field}.truncation"),
        include_logits=options.include_logits,
        include_tokens=options.include_tokens,
        offset_unit=unit or OffsetUnit.UNICODE,
        priority=PRIORITIES.get(options.priority, priority),
    )


def parse_text(message: pb.TextInput, max_text_bytes: int) -> Text:
    """The text or pair of an input.

    Raises RequestError EMPTY_TEXT or TEXT_TOO_LARGE, naming the field within the input.
    """
    text = Text(message.text, message.text_pair if message.HasField("text_pair") else None)
    for name, value in zip(Text._fields, text, strict=True):
        if value is None:
            continue
        if not value.strip():
            raise RequestError(Reason.EMPTY_TEXT, "the text is empty or blank", field=name)
        size = len(value.encode())
        if size > max_text_bytes:
            raise RequestError(
                Reason.TEXT_TOO_LARGE,
                f"the text has {size} bytes, and the limit is {max_text_bytes}",
                field=name,
                metadata={"bytes": str(size), "max_text_bytes": str(max_text_bytes)},
            )
    return text
