"""Protobuf messages <-> the server's own types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.engine import EngineTraits, Execution, Layout, Precision
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.scheduling.batch import Priority
from classwire_server.scoring import Activation
from classwire_server.tokenization import OffsetUnit, Text, Token, Truncation

M = TypeVar("M", bound=Message)
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
PRECISIONS: Mapping[Precision, Any] = {
    Precision.FLOAT32: pb.PRECISION_FLOAT32,
    Precision.BFLOAT16: pb.PRECISION_BFLOAT16,
    Precision.FLOAT16: pb.PRECISION_FLOAT16,
    Precision.INT8: pb.PRECISION_INT8,
}
EXECUTIONS: Mapping[Execution, Any] = {
    Execution.PLAIN: pb.EXECUTION_PLAIN,
    Execution.COMPILED: pb.EXECUTION_COMPILED,
}
LAYOUTS: Mapping[Layout, Any] = {
    Layout.PACKED: pb.LAYOUT_PACKED,
    Layout.PADDED: pb.LAYOUT_PADDED,
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


def parse(message_type: type[M], raw: bytes) -> M:
    """A message from its bytes. Raises RequestError BAD_ENCODING."""
    try:
        return message_type.FromString(raw)
    except DecodeError:
        raise RequestError(
            Reason.BAD_ENCODING, f"the bytes are no {message_type.__name__}, or a text is not UTF-8"
        ) from None


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


def token(value: Token) -> pb.Token:
    """A token on the wire."""
    return pb.Token(
        id=value.id,
        text=value.text,
        start=value.start,
        end=value.end,
        special=value.special,
        token_type_id=value.token_type_id,
        sequence_index=value.sequence_index,
    )


def engine(traits: EngineTraits) -> pb.Engine:
    """What runs the forward pass, on the wire."""
    return pb.Engine(execution=EXECUTIONS[traits.execution], layout=LAYOUTS[traits.layout])


def model_ref(model: ServedModel, traits: EngineTraits | None) -> pb.ModelRef:
    """All that the numbers depend on, on the wire.

    `traits` is what computed them; None, where nothing was computed, for what would.
    """
    traits = traits or model.engine.traits
    return pb.ModelRef(
        name=model.checkpoint.name,
        fingerprint=model.checkpoint.fingerprint,
        precision=PRECISIONS[traits.precision],
        engine=engine(traits),
    )


def key_of(mapping: Mapping[Any, E], value: E) -> Any:
    """The protobuf number of a domain value."""
    return next(key for key, known in mapping.items() if known is value)
