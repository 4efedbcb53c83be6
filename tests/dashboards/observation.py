"""What a Prometheus says over time: which alerts fire, and which queries have an answer."""

import math
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from .prometheus import Firing, Prometheus
from .shipped import Asked

TICK_S = 0.2


class Observation:
    """Looks again and again. Times are in seconds since the first look.

    `fired` is when alerts fired for the first time, `cleared` when they last ceased to;
    `unanswered` are the queries that have had no data yet.
    """

    def __init__(self, prometheus: Prometheus, queries: Sequence[Asked]) -> None:
        self.fired: dict[Firing, float] = {}
        self.cleared: dict[Firing, float] = {}
        self.firing: set[Firing] = set()
        self.unanswered = list(queries)
        self._prometheus = prometheus
        self._began_s = time.monotonic()

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Look until the condition holds; returns whether it came to that in time."""
        end_s = time.monotonic() + timeout_s
        self.look()
        while not condition():
            if time.monotonic() > end_s:
                return False
            Event().wait(TICK_S)
            self.look()
        return True

    def look(self) -> None:
        """See what there is at this moment."""
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
    """Whether there is a number; 0 / 0 is none."""
    return any(math.isfinite(float(sample["value"][1])) for sample in samples)
