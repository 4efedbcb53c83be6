"""Windows of a text that is longer than the model: where they lie, and how their answers become
one.

Pure arithmetic, in float64 where it is not of integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Aggregation(Enum):
    """How the answers of a text's windows become the answer of the text."""

    MEAN_LOGITS = "mean_logits"
    MAX_SCORE = "max_score"


@dataclass(frozen=True)
class WindowPlan:
    """How to read a text of more than `tokens` tokens, special tokens included.

    Neighbouring windows share `overlap` tokens of the text, None for a quarter of their room. A
    text of more than `max_windows` windows is rejected.
    """

    tokens: int
    max_windows: int
    overlap: int | None = None

    def step(self, room: int) -> int:
        """Tokens between the starts of windows that have `room` tokens of text; at least 1."""
        overlap = room // 4 if self.overlap is None else min(self.overlap, room // 2)
        return room - overlap


def count(tokens: int, room: int, step: int) -> int:
    """Number of windows of a text."""
    return 1 + max(0, -((room - tokens) // step))


def lay(tokens: int, room: int, step: int) -> list[range]:
    """The tokens of each window, in order. The last window is moved back so that it is full."""
    last = max(0, tokens - room)
    starts = (min(number * step, last) for number in range(count(tokens, room, step)))
    return [range(start, min(start + room, tokens)) for start in starts]


def weights(windows: Sequence[range]) -> list[float]:
    """The weight of each window. They sum to the number of tokens in the windows.

    Each token counts once, shared equally among the windows that read it.
    """
    readers = np.zeros(max(window.stop for window in windows))
    for window in windows:
        readers[window.start : window.stop] += 1.0
    return [float((1.0 / readers[window.start : window.stop]).sum()) for window in windows]


def mean_logits(logits: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The weighted mean of the windows' logits: (windows, labels) -> (labels,)."""
    total = np.zeros(logits.shape[1])
    for row, weight in zip(logits.astype(np.float64), weights, strict=True):
        total += weight * row
    return total / sum(weights)


def highest(scores: np.ndarray) -> np.ndarray:
    """For each label the first window with its highest score: (windows, labels) -> (labels,).

    A NaN counts as the highest.
    """
    best: np.ndarray = scores.argmax(axis=0)
    return best
