"""Callers who let the server wait: what they hold is taken back after a while."""

import math
import threading
import time
from typing import Protocol

from .timers import Timers

LOOK_S = 1.0
"""How often to look at what waits; nearly all is over by then."""


class Cancellable(Protocol):
    """A call, on whatever level."""

    def cancel(self) -> object:
        """End it without a word; on any thread."""


class Patience:
    """Ends calls that let the server wait for so long, or up to a second longer. Safe for use by
    any thread.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since_s: dict[Cancellable, float] = {}
        self._is_watched = False
        self._lock = threading.Lock()  # guards all of the above
        self._alarms = Timers()

    def begin(self, call: Cancellable) -> None:
        """A call lets the server wait from now on."""
        now_s = time.monotonic()
        with self._lock:
            self._since_s[call] = now_s
            if not self._is_watched:
                self._is_watched = True
                self._alarms.set(now_s + LOOK_S, self._look)

    def end(self, call: Cancellable) -> None:
        """A call is waited for no more."""
        with self._lock:
            self._since_s.pop(call, None)

    def _look(self, now_s: float) -> float:
        """End the calls that have taken too long; returns when to look again."""
        with self._lock:
            late_s = now_s - self._patience_s
            late = [call for call, since_s in self._since_s.items() if since_s <= late_s]
            is_watched = self._is_watched = bool(self._since_s)
        for call in late:
            call.cancel()
        return now_s + LOOK_S if is_watched else math.inf
