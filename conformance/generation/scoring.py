"""Scores from logits, of one window or several, and their order."""

import itertools
import math
from collections.abc import Sequence

import torch

from .encoding import Json

MEAN_LOGITS, MAX_SCORE = "WINDOW_AGGREGATION_MEAN_LOGITS", "WINDOW_AGGREGATION_MAX_SCORE"
LEAST_SHARE, LEAST_DISTANCE = 1e-3, 2e-6
"""Least difference that may decide an expected value, as a share of the larger one and at all."""
DIGITS = 7


def aggregation_of(options: Json, default: str) -> str:
    """Return the aggregation of a call's options."""
    return str(options.get("windows", {}).get("aggregation", default))


def aggregated(
    logits: torch.Tensor, weights: Sequence[float], activation: str, aggregation: str
) -> tuple[torch.Tensor, list[float]]:
    """Return logits and scores of a text from the logits of its windows: (windows, labels).

    `weights` are those of the windows in the mean. With MAX_SCORE, the logits are those
    of the windows that have the scores.
    """
    if len(logits) == 1:
        return logits[0], applied(logits[0], activation).tolist()
    if aggregation == MEAN_LOGITS:
        shares = torch.tensor(list(weights), dtype=torch.float64)
        mean = (shares[:, None] * logits.double()).sum(0) / shares.sum()
        return mean, applied(mean, activation).tolist()
    scores = applied(logits.double(), activation)
    for first, second in scores.sort(0, descending=True).values[:2].T.tolist():
        _tell_apart(first, second)
    highest = scores.max(0)
    return logits.gather(0, highest.indices[None])[0], highest.values.tolist()


def applied(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """Return scores from logits, in the order of the label ids: (…, labels)."""
    scores: torch.Tensor = {
        "ACTIVATION_SOFTMAX": lambda: logits.softmax(dim=-1),
        "ACTIVATION_SIGMOID": lambda: logits.sigmoid(),
        "ACTIVATION_IDENTITY": lambda: logits,
    }[activation]()
    return scores


def ranked(labels: list[str], scores: list[float], options: Json) -> list[Json]:
    """Return LabelScores, highest first, ties by label id, limited by the options."""
    messages = [
        {"label": labels[label_id], "labelId": label_id, "score": number(scores[label_id])}
        for label_id in best(scores, options)
    ]
    return [{key: value for key, value in message.items() if value} for message in messages]


def best(scores: Sequence[float], options: Json) -> list[int]:
    """Return the places of scores, highest first, ties by place, limited by the options."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    for before, after in itertools.pairwise(order):
        _tell_apart(scores[before], scores[after])
    order = order[: options.get("topK") or None]
    least = float(options.get("minScore", -math.inf))
    for place in order:
        _tell_apart(scores[place], least)
    return [place for place in order if scores[place] >= least]


def number(value: float) -> float:
    """Return a float32, rounded so that it is the same on every machine."""
    return float(f"{torch.tensor(value, dtype=torch.float32).item():.{DIGITS}g}")


def _tell_apart(one: float, other: float) -> None:
    if one != other and math.isclose(one, other, rel_tol=LEAST_SHARE, abs_tol=LEAST_DISTANCE):
        raise ValueError(f"{one} and {other} are too close: rounding would decide their order")
