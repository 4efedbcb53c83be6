"""Converts items that have ended to response messages: scores or errors, timing, engine."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from enum import Enum
from itertools import starmap
from typing import Any, NamedTuple, TypeVar

from classwire.v1 import classwire_pb2 as pb
from classwire_server.engine import EngineTraits, Execution, Layout, Precision
from classwire_server.errors import BadLogits
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.status import item_error, request_error
from classwire_server.scoring import ranking, scores
from classwire_server.tokenization import OffsetUnit, Token, Windows

from .answers import answers_of, computed, count, record, window_logits
from .items import Item
from .options import ACTIVATIONS, AGGREGATIONS, Options

E = TypeVar("E", bound=Enum)

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


class Classification(NamedTuple):
    """One text's logits and scores by label id, and its label ids from the highest score down.

    `best` are the ids of the two highest scores, whatever the call's `top_k`.
    """

    logits: list[float]
    scores: list[float]
    ranked: list[int]
    best: list[int]


def write_outcomes(
    model: ServedModel, options: Options, items: Sequence[Item], outcomes: Iterable[pb.Outcome]
) -> None:
    """Fill one empty outcome for each item; an item without scores has its `error` afterwards.

    Fills the messages in place, since protobuf copies a message that is put into another. Raises
    CancelledError when the call was cancelled.
    """
    classifications = _classify(items, options)
    answered: list[tuple[Item, Classification]] = []
    for item, outcome in zip(items, outcomes, strict=True):
        try:
            if item.error is not None:
                raise item.error
            message, labels = outcome.classification, model.checkpoint.labels
            classification = next(classifications)
            _write_scores(message, classification, labels, options)
            _write_tokens(message, item, options)
            _write_windows(message, item, classification, options)
            answered.append((item, classification))
        except CancelledError:
            raise
        except Exception as error:  # one bad text never fails another
            item.error = request_error(error)
            outcome.error.CopyFrom(item_error(item.error))
    count(model, items)
    if answered:
        _record(model, options, answered)


def _record(
    model: ServedModel, options: Options, answered: Sequence[tuple[Item, Classification]]
) -> None:
    """Count the answers, with the model's own activation if the call has another."""
    items = [item for item, _ in answered]
    classifications: Iterable[Classification] = (each for _, each in answered)
    activation = model.checkpoint.activation
    if options.activation is not activation:
        classifications = _classify(items, replace(options, activation=activation))
    values, best = zip(*((each.scores, each.best) for each in classifications), strict=True)
    record(model, items, values, best)


def _classify(items: Sequence[Item], options: Options) -> Iterator[Classification]:
    """The classification of each item that has an answer, computed for all items at once."""
    if not any(item.answer for item in items):
        return iter(())
    logits, values = answers_of(items, options.activation, options.aggregation)
    ranked = ranking(values)
    shown, best = ranked[:, : options.top_k or None], ranked[:, :2]
    columns = (each.tolist() for each in (logits, values, shown, best))
    return starmap(Classification, zip(*columns, strict=True))


def _write_scores(
    message: pb.Classification,
    classification: Classification,
    labels: Sequence[str],
    options: Options,
) -> None:
    """Raises BadLogits for NaN, and ValueError when there are not as many scores as labels."""
    logits, values, ranked, _ = classification
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} logits for {len(labels)} labels")
    if any(map(math.isnan, values)):
        raise BadLogits
    min_score = -math.inf if options.min_score is None else options.min_score
    for label_id in ranked:
        if values[label_id] >= min_score:
            message.scores.add(label=labels[label_id], label_id=label_id, score=values[label_id])
    message.activation = key_of(ACTIVATIONS, options.activation)
    if options.include_logits:
        message.logits.extend(logits)


def _write_tokens(message: pb.Classification, item: Item, options: Options) -> None:
    message.token_count = item.tokens
    message.truncated_tokens = item.encoding.truncated_tokens
    if options.include_tokens:
        message.tokens.extend(map(token, item.encoding.tokens(options.offset_unit)))


def _write_windows(
    message: pb.Classification, item: Item, classification: Classification, options: Options
) -> None:
    message.window_count = len(item.parts)
    if item.windows:
        message.aggregation = key_of(AGGREGATIONS, options.aggregation)
    if options.include_windows:
        layout = item.layout or Windows.of(item.encoding)
        values = [classification.scores]
        if item.windows:
            values = scores(window_logits(item), options.activation).tolist()
        for window, row in zip(window_messages(layout, options.offset_unit), values, strict=True):
            window.scores.extend(row)
            message.windows.append(window)


def window_messages(layout: Windows, unit: OffsetUnit) -> Iterator[pb.TextWindow]:
    """The messages for the windows of a text, without their scores."""
    for encoding, (start, end) in zip(layout.encodings, layout.spans(unit), strict=True):
        yield pb.TextWindow(
            start=start,
            end=end,
            sequence_index=layout.sequence_index,
            token_count=len(encoding.ids),
        )


def timing_of(items: Sequence[Item]) -> pb.Timing:
    """Where the time went: the largest value over the items, for each field."""
    now_s = time.monotonic()
    answered = computed(items)
    answers = {answer for _, answer in answered}
    return pb.Timing(
        tokenize_us=_microseconds(item.tokenize_s for item in items),
        queue_us=_microseconds(answer.began_s - part.queued_s for part, answer in answered),
        inference_us=_microseconds(answer.logits.inference_s for answer in answers),
        total_us=_microseconds(now_s - item.received_s for item in items),
        batch_texts=max((answer.batch_texts for answer in answers), default=0),
        batch_tokens=max((answer.batch_tokens for answer in answers), default=0),
        cached=any(part.cached for part, _ in answered),
    )


def _microseconds(durations_s: Iterable[float]) -> int:
    """The largest duration in microseconds, saturating at the largest uint32."""
    return min(max(round(max(durations_s, default=0.0) * 1e6), 0), 0xFFFF_FFFF)


def token(value: Token) -> pb.Token:
    """The message for a token."""
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
    """The message for the engine that runs the forward pass."""
    return pb.Engine(execution=EXECUTIONS[traits.execution], layout=LAYOUTS[traits.layout])


def model_ref(model: ServedModel, traits: EngineTraits | None) -> pb.ModelRef:
    """The message for all that the scores depend on.

    `traits` are those of the engine that computed them; None means the model's current engine.
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
