"""Returning free memory to the operating system."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable
from contextlib import suppress

IDLE_S = 2.0
"""Idle time after which a worker returns free memory to the system."""


def release_memory() -> None:
    """Return free memory to the system after loading, which leaves much of it.

    Exempts all live objects from later garbage collections, which would delay batches.
    """
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Return the free memory that malloc keeps; other threads run meanwhile."""
    with suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


class IdleAction:
    """Runs an action once after each `idle_s` seconds without work.

    Each lane has a malloc arena of its own, which keeps the memory of its largest batch. `worked`
    may be called by any thread.
    """

    def __init__(self, action: Callable[[], None] = trim, idle_s: float = IDLE_S) -> None:
        self._action = action
        self._idle_s = idle_s
        self._worked_s = 0.0
        self._has_worked = threading.Event()
        threading.Thread(target=self._watch, name="idle", daemon=True).start()

    def worked(self) -> None:
        """Restart the idle time: work has just been done."""
        self._worked_s = time.monotonic()
        self._has_worked.set()

    def _watch(self) -> None:
        while True:
            self._has_worked.wait()
            while (left_s := self._worked_s + self._idle_s - time.monotonic()) > 0:
                time.sleep(left_s)
            self._has_worked.clear()
            self._action()
