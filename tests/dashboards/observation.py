"""What a Prometheus shows over time: which alerts fire, and which queries have data."""

import math
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from .prometheus import Firing, Prometheus
from .shipped import Asked

TICK_S = 0.2


class Observation:
    """Looks repeatedly. Times are in seconds since the first look.

    `fired` is when an alert first fired, `cleared` when it last stopped; `unanswered` are the
    queries without data so far.
    """

    def __init__(self, prometheus: Prometheus, queries: Sequence[Asked]) -> None:
        self.fired: dict[Firing, float] = {}
        self.cleared: dict[Firing, float] = {}
        self.firing: set[Firing] = set()
        self.unanswered = list(queries)
        self._prometheus = prometheus
        self._began_s = time.monotonic()

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Look until the condition holds; return False at the timeout."""
        end_s = time.monotonic() + timeout_s
        self.look()
        while not condition():
            if time.monotonic() > end_s:
                return False
            Event().wait(TICK_S)
            self.look()
        return True

    def look(self) -> None:
        """Record the alerts and the queries' data of this moment."""
        firing = self._prometheus.firing()
        now_s = time.monotonic() - self._began_s
        for alert in firing:
            self.fired.setdefault(alert, now_s)
        self.cleared |= dict.fromkeys(self.firing - firing, now_s)
        self.firing = firing
        self.unanswered = [
            asked for asked in self.unanswered if not _is_data(self._prometheus.query(asked.expr))
        ]


def _is_data(samples: Sequence[dict[str, Any]]) -> bool:
    """Return whether there is a number; 0 / 0 is none."""
    return any(math.isfinite(float(sample["value"][1])) for sample in samples)
