"""Statistics of what was measured. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What several rounds gave: their median, and the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return digits(self.median)
        return f"{digits(self.median)} ({digits(self.least)} to {digits(self.most)})"


def figure(rounds: Sequence[float]) -> Figure:
    """The figure of at least one round."""
    return Figure(statistics.median(rounds), min(rounds), max(rounds))


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """The ratio of two figures, taken in each round: what slows a round down slows both."""
    return figure([a / b for a, b in zip(above, below, strict=True)])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def digits(value: float) -> str:
    """Three significant digits, or all of a larger number's."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"
