"""Logits to scores: activation and ranking."""

import math
from enum import Enum

import numpy as np


class Activation(Enum):
    """How logits become scores."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    IDENTITY = "identity"


def activated(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Scores in float64: (..., labels) -> (..., labels).

    Softmax subtracts
    the largest logit, which keeps its value and makes every exponent at most 0 (Goodfellow, Bengio,
    Courville: Deep Learning, 2016, section 4.1).
    """
    exact = logits.astype(np.float64)
    if activation is Activation.SIGMOID:
        decay = np.exp(-np.abs(exact))
        exact = np.where(exact >= 0, 1.0, decay) / (1.0 + decay)
    elif activation is Activation.SOFTMAX:
        exponentials = np.exp(exact - exact.max(axis=-1, keepdims=True))
        exact = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return exact


def scores(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Scores, computed in float64 and rounded to float32: (..., labels) -> (..., labels).

    Order, ties and `min_score` apply to the float32 values, which callers see.
    """
    return activated(logits, activation).astype(np.float32)


def ranking(values: np.ndarray) -> np.ndarray:
    """Label ids by descending score, ties by id: (..., labels) -> (..., labels)."""
    return (-values).argsort(axis=-1, kind="stable")


def best(values: np.ndarray, top_k: int, min_score: float | None) -> list[int]:
    """Places of the `top_k` highest values (0: all) of at least `min_score`, ties by place."""
    lowest = -math.inf if min_score is None else min_score
    places: list[int] = ranking(values)[: top_k or None].tolist()
    return [place for place in places if values[place] >= lowest]
