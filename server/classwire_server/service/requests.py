"""Checks request messages and converts them to the server's own types."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self, TypeVar

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
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
    """The options of a call. Every default is filled in except `truncation` (None: the model's)."""

    top_k: int
    min_score: float | None
    activation: Activation
    truncation: Truncation | None
    include_logits: bool
    include_tokens: bool
    offset_unit: OffsetUnit
    priority: Priority


@dataclass(frozen=True, eq=False)
class ClassifyRequest:
    """The texts of one message for one model. A RequestError replaces a text that breaks a rule."""

    model: ServedModel
    options: Options
    texts: Sequence[Text | RequestError]

    @classmethod
    def of(cls, model: ServedModel, options: Options, texts: Iterable[Text]) -> Self:
        """Check each text against the limits of the model, as `check_text` does."""
        max_text_bytes = model.limits.max_text_bytes
        return cls(model, options, [_text_or_error(text, max_text_bytes) for text in texts])


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
    options: pb.ClassifyOptions, model: ServedModel, priority: Priority, field: str
) -> Options:
    """The options of a call; `priority` is the default, `field` the path of the options.

    Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field.
    """
    activation = parse_enum(options.activation, ACTIVATIONS, f"{field}.activation")
    activation = activation or model.checkpoint.activation
    min_score = options.min_score if options.HasField("min_score") else None
    if min_score is not None:
        bounded = activation is not Activation.IDENTITY
        if not math.isfinite(min_score) or (bounded and not 0.0 <= min_score <= 1.0):
            raise RequestError(
                Reason.BAD_OPTION,
                f"min_score is not a finite number{' within 0 and 1' if bounded else ''}",
                field=f"{field}.min_score",
            )
    if options.include_tokens:
        check_spans(model, f"{field}.include_tokens")
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


def check_spans(model: ServedModel, field: str) -> None:
    """Raises RequestError BAD_OPTION, naming the field, if a model's tokens have no spans."""
    if not model.tokenization.has_spans:
        raise RequestError(
            Reason.BAD_OPTION,
            "the model's tokenizer does not say where in the text a token is",
            field=field,
        )


def max_texts(model: ServedModel, options: Options) -> int:
    """Maximum number of texts whose answers fit into one message."""
    limits = model.limits
    if options.include_tokens:
        return limits.max_texts_per_call_with_tokens
    return limits.max_texts_per_call


def text_of(message: pb.TextInput) -> Text:
    """The text or pair of an input, unchecked."""
    return Text(message.text, message.text_pair if message.HasField("text_pair") else None)


def check_text(text: Text, max_text_bytes: int) -> Text:
    """The text itself.

    Raises RequestError EMPTY_TEXT or TEXT_TOO_LARGE, naming the field within the input.
    """
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


def _text_or_error(text: Text, max_text_bytes: int) -> Text | RequestError:
    try:
        return check_text(text, max_text_bytes)
    except RequestError as error:
        return error
