"""Statistics of measurements. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """Median, minimum and maximum of several rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return digits(self.median)
        return f"{digits(self.median)} ({digits(self.least)} to {digits(self.most)})"


def figure(rounds: Sequence[float]) -> Figure:
    """Return the figure of one or more rounds."""
    return Figure(statistics.median(rounds), min(rounds), max(rounds))


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Return the figure of the ratios of each round: a slow round slows both sides."""
    return figure([a / b for a, b in zip(above, below, strict=True)])


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def digits(value: float) -> str:
    """Format with three significant digits; larger integers in full."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"
