"""Calls back at instants: one thread waits for all of them."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

AGAIN_S = 1.0
"""Time until a callback that failed runs again."""

log = logging.getLogger(__name__)

Callback = Callable[[float], float]
"""Takes the time; returns the instant at which to call again, math.inf for never."""


@dataclass(eq=False)
class _Timer:
    at_s: float
    callback: Callback


class Timers:
    """Calls back at instants of the monotonic clock. Thread-safe.

    Its thread lives as long as there is a timer. A callback that fails runs again later, and does
    not stop the others.
    """

    def __init__(self) -> None:
        self._timers: set[_Timer] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards all of the above

    def set(self, at_s: float, callback: Callback) -> Callable[[], None]:
        """Call back at an instant, on the thread of the timers; returns what cancels the timer."""
        timer = _Timer(at_s, callback)
        with self._changed:
            if at_s < math.inf:
                self._timers.add(timer)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
                    self._thread.start()
                self._changed.notify()
        return lambda: self._remove(timer)

    def _remove(self, timer: _Timer) -> None:
        with self._changed:
            self._timers.discard(timer)
            self._changed.notify()

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            now_s = time.monotonic()
            try:
                timer.at_s = timer.callback(now_s)
            except Exception as error:  # not its text, which may quote a caller's
                log.error("a timer failed and is tried again: %s", type(error).__name__)
                timer.at_s = now_s + AGAIN_S
            if timer.at_s == math.inf:
                self._remove(timer)

    def _next(self) -> _Timer | None:
        """Wait for the earliest instant; None when there is no timer."""
        with self._changed:
            while self._timers:
                timer = min(self._timers, key=lambda timer: timer.at_s)
                remaining_s = timer.at_s - time.monotonic()
                if remaining_s <= 0:
                    return timer
                self._changed.wait(min(remaining_s, threading.TIMEOUT_MAX))
            self._thread = None
        return None
