"""Checks the options of requests and converts them to the server's own types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.checkpoint.loading import ProblemType
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.scheduling.batch import Priority
from classwire_server.scoring import Activation
from classwire_server.tokenization import Fit, OffsetUnit, Truncation
from classwire_server.windows import Aggregation, WindowPlan

E = TypeVar("E", bound=Enum)
FitOptions = pb.ClassifyOptions | pb.TokenizeRequest | pb.RankOptions | pb.ZeroShotOptions
"""Messages that say what to do with a text that does not fit."""

ACTIVATIONS: Mapping[Any, Activation] = {
    pb.ACTIVATION_SOFTMAX: Activation.SOFTMAX,
    pb.ACTIVATION_SIGMOID: Activation.SIGMOID,
    pb.ACTIVATION_IDENTITY: Activation.IDENTITY,
}
TRUNCATIONS: Mapping[Any, Truncation] = {
    pb.TRUNCATION_REJECT: Truncation.REJECT,
    pb.TRUNCATION_DROP_END: Truncation.DROP_END,
    pb.TRUNCATION_DROP_START: Truncation.DROP_START,
    pb.TRUNCATION_WINDOWS: Truncation.WINDOWS,
}
AGGREGATIONS: Mapping[Any, Aggregation] = {
    pb.WINDOW_AGGREGATION_MEAN_LOGITS: Aggregation.MEAN_LOGITS,
    pb.WINDOW_AGGREGATION_MAX_SCORE: Aggregation.MAX_SCORE,
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
    """The options of a call, with every default filled in."""

    top_k: int
    min_score: float | None
    activation: Activation
    fit: Fit
    aggregation: Aggregation
    include_logits: bool
    include_tokens: bool
    include_windows: bool
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
    options: pb.ClassifyOptions, model: ServedModel, priority: Priority, field: str
) -> Options:
    """The options of a call; `priority` is the default, `field` the path of the options.

    Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field.
    """
    activation = parse_enum(options.activation, ACTIVATIONS, f"{field}.activation")
    activation = activation or model.checkpoint.activation
    min_score = parse_min_score(options, activation, field)
    if options.include_tokens:
        check_spans(model, f"{field}.include_tokens")
    unit = parse_enum(options.offset_unit, OFFSET_UNITS, f"{field}.offset_unit")
    fit = parse_fit(options, model, f"{field}.")
    if options.include_windows:
        if not isinstance(fit, WindowPlan):
            raise _not_in_force(f"{field}.include_windows")
        check_spans(model, f"{field}.include_windows")
    return Options(
        top_k=options.top_k,
        min_score=min_score,
        activation=activation,
        fit=fit,
        aggregation=parse_aggregation(options, default_aggregation(model), f"{field}."),
        include_logits=options.include_logits,
        include_tokens=options.include_tokens,
        include_windows=options.include_windows,
        offset_unit=unit or OffsetUnit.UNICODE,
        priority=PRIORITIES.get(options.priority, priority),
    )


def parse_min_score(
    options: pb.ClassifyOptions | pb.RankOptions | pb.ZeroShotOptions,
    activation: Activation,
    field: str,
) -> float | None:
    """The lowest score to return, None for no bound. Raises RequestError BAD_OPTION."""
    if not options.HasField("min_score"):
        return None
    min_score, is_bounded = options.min_score, activation is not Activation.IDENTITY
    if not math.isfinite(min_score) or (is_bounded and not 0.0 <= min_score <= 1.0):
        within = " within 0 and 1" if is_bounded else ""
        raise bad_option(f"{field}.min_score", f"is not a finite number{within}")
    return min_score


def parse_fit(options: FitOptions, model: ServedModel, prefix: str) -> Fit:
    """What to do with texts that do not fit; `prefix` is the path of the options with its dot.

    Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field.
    """
    tokenization = model.tokenization
    truncation = parse_enum(options.truncation, TRUNCATIONS, f"{prefix}truncation")
    truncation = truncation or tokenization.default_truncation
    if truncation is not Truncation.WINDOWS:
        if options.HasField("windows"):
            raise _not_in_force(f"{prefix}windows")
        return truncation
    windows, special = options.windows, tokenization.special_tokens_of_a_pair
    tokens = windows.window_tokens or tokenization.max_tokens
    if not special < tokens <= tokenization.max_tokens:
        raise RequestError(
            Reason.BAD_OPTION,
            f"window_tokens is {tokens}, not {special + 1} to {tokenization.max_tokens}",
            field=f"{prefix}windows.window_tokens",
            metadata={"max_tokens": str(tokenization.max_tokens)},
        )
    overlap = windows.overlap_tokens if windows.HasField("overlap_tokens") else None
    if overlap is not None and 2 * overlap > tokens:
        raise RequestError(
            Reason.BAD_OPTION,
            f"overlap_tokens is {overlap}, more than half of {tokens} tokens of a window",
            field=f"{prefix}windows.overlap_tokens",
            metadata={"window_tokens": str(tokens)},
        )
    return WindowPlan(tokens, model.limits.max_windows_per_text, overlap)


def default_aggregation(model: ServedModel) -> Aggregation:
    """How the answers of windows become one unless the call says so."""
    is_multi_label = model.checkpoint.problem_type is ProblemType.MULTI_LABEL
    return Aggregation.MAX_SCORE if is_multi_label else Aggregation.MEAN_LOGITS


def parse_aggregation(options: FitOptions, default: Aggregation, prefix: str) -> Aggregation:
    """How the answers of windows become one. Raises RequestError UNKNOWN_ENUM."""
    path = f"{prefix}windows.aggregation"
    return parse_enum(options.windows.aggregation, AGGREGATIONS, path) or default


def check_spans(model: ServedModel, field: str) -> None:
    """Raises RequestError BAD_OPTION, naming the field, if a model's tokens have no spans."""
    if not model.tokenization.has_spans:
        raise RequestError(
            Reason.BAD_OPTION,
            "the model's tokenizer does not say where in the text a token is",
            field=field,
        )


def bad_option(field: str, problem: str) -> RequestError:
    """The error of an option; `field` is its path."""
    return RequestError(Reason.BAD_OPTION, f"{field.rpartition('.')[2]} {problem}", field=field)


def _not_in_force(field: str) -> RequestError:
    return bad_option(field, "is for TRUNCATION_WINDOWS, which is not in force")
