"""What the model says of texts that have ended: logits, scores, outcomes, the engine."""

import time
from collections.abc import Iterable, Sequence

import numpy as np

from classwire_server.engine import EngineTraits
from classwire_server.registry.predictions.predictions import Highest
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.status import reason_of
from classwire_server.scheduling.batch import Answer, Pending
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.scoring import Activation, activated, scores
from classwire_server.windows import Aggregation, highest, mean_logits

from .items import Item


def window_logits(item: Item) -> np.ndarray:
    """The logits of each window of a text that has an answer: (windows, labels)."""
    return np.concatenate([_row(part) for part in item.parts])


def answers_of(
    items: Iterable[Item], activation: Activation, aggregation: Aggregation
) -> tuple[np.ndarray, np.ndarray]:
    """The logits and the scores of the texts that have an answer, at least one: (texts, labels).

    With MAX_SCORE, the logits of a text of several windows are those that its scores are of.
    """
    answered = [item for item in items if item.answer]
    logits = np.concatenate([_logits(item) for item in answered])
    values = scores(logits, activation)
    if aggregation is Aggregation.MAX_SCORE:
        for place, item in enumerate(answered):
            if item.windows:
                of_windows = window_logits(item)
                exact = activated(of_windows, activation)
                best = highest(exact)[np.newaxis]  # (1, labels)
                logits[place] = np.take_along_axis(of_windows, best, axis=0)[0]
                values[place] = np.take_along_axis(exact, best, axis=0)[0]
    return logits, values


def _logits(item: Item) -> np.ndarray:
    """The logits of a text, of windows their mean: (1, labels)."""
    if item.layout is None:
        return _row(item)
    return mean_logits(window_logits(item), item.layout.weights)[np.newaxis]


def _row(part: Pending) -> np.ndarray:
    if part.answer is None:
        raise ValueError("the text has no answer")
    return part.answer.logits.values[part.row : part.row + 1]


def computed(items: Iterable[Item]) -> list[tuple[Pending, Answer]]:
    """Each queued part of these texts that has an answer, with the answer."""
    return [(part, part.answer) for item in items for part in item.parts if part.answer]


def traits_of(items: Sequence[Item]) -> EngineTraits | None:
    """The traits of the engine that computed the last answer; None without an answer."""
    return next((i.answer.logits.traits for i in reversed(items) if i.answer), None)


def count(model: ServedModel, items: Sequence[Item]) -> None:
    """Count the outcome of each text in the model's statistics."""
    now_s = time.monotonic()
    model.dispatcher.statistics.count(outcome_of(item, now_s) for item in items)


def record(
    model: ServedModel,
    items: Sequence[Item],
    values: Sequence[Sequence[float]],
    best: Sequence[Sequence[int]],
) -> None:
    """Count what the model says of texts whose callers get an answer.

    `values` are the scores of each text by label id, with the model's own activation, and `best`
    the ids of the two highest. The listener of the model gets the texts that the model read whole.
    """
    predictions = model.predictions
    answers = list(map(Highest.of, values, best))
    predictions.add(answers)
    if predictions.listener is not None:
        for item, highest in zip(items, answers, strict=True):
            if not item.encoding.truncated_tokens:
                encoding = item.layout.encodings[0] if item.layout is not None else item.encoding
                predictions.listener.answered(encoding.source, predictions.labels, highest)


def outcome_of(item: Item, now_s: float) -> Outcome:
    """What the statistics count for a text that has ended."""
    total_s = now_s - item.received_s
    if item.error is not None or item.answer is None:
        return Outcome(total_s, reason=reason_of(item.error))
    outcomes = [_outcome(part, answer, item, total_s) for part, answer in computed([item])]
    return (
        outcomes[0] if len(outcomes) == 1 else Outcome.of_all(total_s, outcomes)._replace(texts=1)
    )


def _outcome(part: Pending, answer: Answer, item: Item, total_s: float) -> Outcome:
    ended_s = answer.began_s + answer.logits.inference_s
    if ended_s <= part.queued_s:  # the answer was cached
        return Outcome(total_s, 1, None, part.tokens, part.priority, windows=1)
    began_s = max(answer.began_s, part.queued_s)
    stages_s = (item.tokenize_s, began_s - part.queued_s, ended_s - began_s)
    return Outcome(total_s, 1, stages_s, part.tokens, part.priority, windows=1)
