"""What has come of late."""

import math

REMEMBERED_S = 1.0
"""The time constant: how long what came counts, on average."""


class Fading:
    """A sum of what came, in which each part fades exponentially.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._last_s = 0.0

    def add(self, amount: float, now_s: float) -> float:
        """Count an amount that comes now; returns the sum with it."""
        self._sum = self._sum * math.exp((self._last_s - now_s) / REMEMBERED_S) + amount
        self._last_s = now_s
        return self._sum
