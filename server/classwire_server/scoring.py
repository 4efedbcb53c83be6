"""Logits -> scores: activation, order, and what the caller wants to see of them."""

from enum import Enum

import numpy as np


class Activation(Enum):
    """How logits become scores."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    IDENTITY = "identity"


def scores(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Scores, computed in float64, rounded to float32: (..., labels) -> (..., labels).

    Callers see float32, so it is there that order, ties and lower bounds must hold. Softmax is
    shifted by the largest logit, which leaves its value as it is and keeps every exponent at most 0
    (Goodfellow, Bengio, Courville: Deep Learning, 2016, section 4.1).
    """
    exact = logits.astype(np.float64)
    if activation is Activation.SIGMOID:
        decay = np.exp(-np.abs(exact))
        exact = np.where(exact >= 0, 1.0, decay) / (1.0 + decay)
    elif activation is Activation.SOFTMAX:
        exponentials = np.exp(exact - exact.max(axis=-1, keepdims=True))
        exact = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return exact.astype(np.float32)


def ranking(values: np.ndarray) -> np.ndarray:
    """Label ids from the highest score to the lowest, ties by id: (..., labels), the same."""
    return (-values).argsort(axis=-1, kind="stable")
