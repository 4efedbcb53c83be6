"""Logits -> scores: activation, order, and what the caller wants to see of them."""

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Activation(Enum):
    """How logits become scores."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Score:
    """The score of the label with this id."""

    label_id: int
    score: float


def scores(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Scores of one text, computed in float64, rounded to float32: (labels,) -> (labels,).

    Callers see float32, so it is there that order, ties and lower bounds must hold. Softmax is
    shifted by the largest logit, which leaves its value as it is and keeps every exponent at most 0
    (Goodfellow, Bengio, Courville: Deep Learning, 2016, section 4.1).
    """
    exact = logits.astype(np.float64)
    if activation is Activation.SIGMOID:
        decay = np.exp(-np.abs(exact))
        exact = np.where(exact >= 0, 1.0, decay) / (1.0 + decay)
    elif activation is Activation.SOFTMAX:
        exponentials = np.exp(exact - exact.max())
        exact = exponentials / exponentials.sum()
    return exact.astype(np.float32)


def ranked(values: np.ndarray, top_k: int = 0, min_score: float | None = None) -> list[Score]:
    """Scores from the highest to the lowest, ties by label id: (labels,) -> at most top_k of them.

    top_k 0 means all; min_score None means no lower bound.
    """
    order = np.argsort(-values, kind="stable")
    if top_k:
        order = order[:top_k]
    return [
        Score(int(label_id), float(values[label_id]))
        for label_id in order
        if min_score is None or values[label_id] >= min_score
    ]
