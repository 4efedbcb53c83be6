"""Instants at which something is to be looked at: one thread waits for all of them."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

AGAIN_S = 1.0
"""When to call again what has failed."""

log = logging.getLogger(__name__)

Ring = Callable[[float], float]
"""Called with the time; returns the instant at which to call again, math.inf for never."""


@dataclass(eq=False)
class _Alarm:
    at_s: float
    ring: Ring


class Timers:
    """Calls back at instants of the monotonic clock. Safe for use by any thread.

    Its thread lives as long as there is anything to wait for. What fails is called again after a
    while, and keeps no other from being called.
    """

    def __init__(self) -> None:
        self._alarms: set[_Alarm] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards all of the above

    def set(self, at_s: float, ring: Ring) -> Callable[[], None]:
        """Call `ring`, on the thread of the alarms, once an instant has come; returns what ends
        that.
        """
        alarm = _Alarm(at_s, ring)
        with self._changed:
            if at_s < math.inf:
                self._alarms.add(alarm)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
                    self._thread.start()
                self._changed.notify()
        return lambda: self._remove(alarm)

    def _remove(self, alarm: _Alarm) -> None:
        with self._changed:
            self._alarms.discard(alarm)
            self._changed.notify()

    def _run(self) -> None:
        while (alarm := self._next()) is not None:
            now_s = time.monotonic()
            try:
                alarm.at_s = alarm.ring(now_s)
            except Exception as error:  # its text could be a caller's
                log.error("an alarm failed and is tried again: %s", type(error).__name__)
                alarm.at_s = now_s + AGAIN_S
            if alarm.at_s == math.inf:
                self._remove(alarm)

    def _next(self) -> _Alarm | None:
        """Wait for the next instant that comes; None when none is left to wait for."""
        with self._changed:
            while self._alarms:
                alarm = min(self._alarms, key=lambda alarm: alarm.at_s)
                remaining_s = alarm.at_s - time.monotonic()
                if remaining_s <= 0:
                    return alarm
                self._changed.wait(min(remaining_s, threading.TIMEOUT_MAX))
            self._thread = None
        return None
