"""How far the labels of recent texts are from a reference: the population stability index."""

import math
from collections import deque
from collections.abc import Sequence

MIN_TEXTS = 200
TEXTS_PER_LABEL = 50
"""Fewer texts give no index: see `texts_needed`."""
HALF_A_TEXT = 0.5
"""Added to each count, so that a label without texts gives a finite index."""
PARTS = 12
"""Parts of a window. A window loses its oldest part as a whole."""


def texts_needed(labels: int) -> int:
    """The number of texts below which an index over `labels` labels means nothing.

    Of two samples of this size from one distribution, fewer than one pair in a thousand has an
    index above 0.2. Without a change the index is about (1/n + 1/m) times a chi-squared variable
    with labels - 1 degrees of freedom, for samples of n and m texts (Yurdakul and Naranjo,
    Statistical properties of the population stability index, Journal of Risk Model Validation 14,
    2020).
    """
    return max(MIN_TEXTS, TEXTS_PER_LABEL * (labels - 1))


def population_stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """The distance of two samples, by their counts of the same labels: 0 if the shares are equal.

    It is the sum of (a - e) ln(a / e) over the labels, where e and a are the label's shares of the
    two samples (Siddiqi, Credit Risk Scorecards, 2006, who reads above 0.25 as a large shift), with
    half a text added to each count. It is the symmetric divergence of Kullback and Leibler, On
    information and sufficiency, 1951.
    """
    of_expected = sum(expected) + HALF_A_TEXT * len(expected)
    of_actual = sum(actual) + HALF_A_TEXT * len(actual)
    index = 0.0
    for expected_texts, actual_texts in zip(expected, actual, strict=True):
        expected_share = (expected_texts + HALF_A_TEXT) / of_expected
        actual_share = (actual_texts + HALF_A_TEXT) / of_actual
        index += (actual_share - expected_share) * math.log(actual_share / expected_share)
    return index


class SlidingCounts:
    """Counts by place over the last `window_s` seconds, less up to a twelfth of it.

    Not safe for use by several threads. Times are instants of the monotonic clock.
    """

    def __init__(self, places: int, window_s: float) -> None:
        self._places = places
        self._part_s = window_s / PARTS
        self._parts: deque[tuple[int, list[int]]] = deque()  # by number of the part, oldest first

    def current(self, now_s: float) -> list[int]:
        """The counts of the present part, to be increased by the caller."""
        number = int(now_s / self._part_s)
        if not self._parts or self._parts[-1][0] != number:
            self._parts.append((number, [0] * self._places))
            self._forget(number)
        return self._parts[-1][1]

    def read(self, now_s: float) -> list[int]:
        """The counts of the window."""
        self._forget(int(now_s / self._part_s))
        parts = [part for _, part in self._parts]
        return [sum(part[place] for part in parts) for place in range(self._places)]

    def _forget(self, number: int) -> None:
        while self._parts and self._parts[0][0] <= number - PARTS:
            self._parts.popleft()
