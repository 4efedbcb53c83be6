"""Preemption: a pass that yields pauses between two of its operators while an urgent pass runs.

The operating system would give both the same share of a core, and the urgent pass would take twice
as long.
"""

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PAUSE_S = 6.0
"""Total pause of a pass that yields, so that it ends however many urgent passes there are."""


class Preemption:
    """Lets urgent passes of a process preempt its passes that yield. Thread-safe.

    An urgent pass needs one core, so only one other pass pauses at a time; `is_paused` says whether
    one does. A pass pauses for at most `max_pause_s` in total.
    """

    def __init__(self, max_pause_s: float = MAX_PAUSE_S) -> None:
        self.max_pause_s = max_pause_s
        self.is_paused = False
        self._changed = threading.Condition()  # guards _urgent and is_paused
        self._urgent = ctypes.c_int64()  # the number of urgent passes; read without the lock
        self._thread = threading.local()  # left_s: how long this thread's pass may still pause

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Context of an urgent pass."""
        with self._changed:
            self._urgent.value += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent.value -= 1
                self._changed.notify_all()

    @contextmanager
    def yielding(self) -> Iterator[None]:
        """Context of a pass that yields, on the thread that computes it."""
        self._thread.left_s = self.max_pause_s
        try:
            yield
        finally:
            self._thread.left_s = 0.0

    @property
    def is_yielding(self) -> bool:
        """Whether this thread computes a pass that yields, and may still pause."""
        return self._left_s > 0

    @property
    def urgent_address(self) -> int:
        """Where native code reads the number of urgent passes, an int64, from any thread.

        While it is 0, or the pass does not yield, a preemption point does nothing. The memory is
        this object's.
        """
        return ctypes.addressof(self._urgent)

    def preemption_point(self) -> None:
        """Pause a yielding pass, which calls this between operators, while an urgent pass runs."""
        if not self._urgent.value or not self.is_yielding:
            return
        with self._changed:
            if self.is_paused:
                return
            self.is_paused = True
            began_s = time.monotonic()
            try:
                self._changed.wait_for(lambda: not self._urgent.value, self._left_s)
            finally:
                self.is_paused = False
            self._thread.left_s -= time.monotonic() - began_s

    @property
    def _left_s(self) -> float:
        """How long this thread's pass may still pause."""
        left_s: float = getattr(self._thread, "left_s", 0.0)
        return left_s


PREEMPTION = Preemption()
"""The preemption of this process: torch's operators can't get it as an argument."""
