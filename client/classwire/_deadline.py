"""A deadline as one point in time."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """A point in time, made once, however many calls an operation takes."""

    def __init__(self, timeout_s: float | None, clock: Clock = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._end = None if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float | None:
        """Seconds that are left, at least 0; None when there is no limit."""
        return None if self._end is None else max(0.0, self._end - self._clock())
