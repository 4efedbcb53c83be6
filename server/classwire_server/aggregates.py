"""Sums, totals and histograms."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field

DECAY_S = 1.0
"""Time constant of the decay."""


class DecayingSum:
    """A sum whose terms decay exponentially with their age.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._last_s = 0.0

    def add(self, amount: float, now_s: float) -> float:
        """Add an amount; returns the new sum."""
        self._sum = self._sum * math.exp((self._last_s - now_s) / DECAY_S) + amount
        self._last_s = now_s
        return self._sum


SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
TEXTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
TOKENS = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(slots=True)
class Total:
    """A number of values and their sum."""

    count: int = 0
    sum: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.sum += value


@dataclass(slots=True)
class Histogram(Total):
    """A total that also counts its values by `bounds`.

    `counts[i]` is the number of values up to `bounds[i]` and above the bound before; the last is
    the number above all bounds.
    """

    bounds: tuple[float, ...] = SECONDS
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float, times: int = 1) -> None:
        """Add a value `times` times."""
        self.count += times
        self.sum += value * times
        self.counts[bisect_left(self.bounds, value)] += times

    def copy(self) -> "Histogram":
        """A histogram with the same values."""
        return Histogram(self.count, self.sum, self.bounds, [*self.counts])
