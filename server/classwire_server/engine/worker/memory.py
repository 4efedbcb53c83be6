"""Memory that is free, given back to the system."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable
from contextlib import suppress

REST_S = 2.0
"""Without work for so long, a worker holds no more than it needs to begin again."""


def give_back() -> None:
    """Hand free memory back, where the C library has a way to: loading leaves a lot of it. What is
    in use then stays for good: to look for garbage in all of it would hold up batches.
    """
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Hand back what malloc keeps for later; other threads go on meanwhile."""
    with suppress(OSError, AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)


class Rest:
    """Does something whenever work has been followed by `rest_s` seconds without any.

    Each lane has an arena of malloc's, which keeps what its largest batch took. `worked` may be
    called by any thread.
    """

    def __init__(self, action: Callable[[], None] = trim, rest_s: float = REST_S) -> None:
        self._action = action
        self._rest_s = rest_s
        self._worked_s = 0.0
        self._has_worked = threading.Event()
        threading.Thread(target=self._watch, name="rest", daemon=True).start()

    def worked(self) -> None:
        """Something was done just now."""
        self._worked_s = time.monotonic()
        self._has_worked.set()

    def _watch(self) -> None:
        while True:
            self._has_worked.wait()
            while (left_s := self._worked_s + self._rest_s - time.monotonic()) > 0:
                time.sleep(left_s)
            self._has_worked.clear()
            self._action()
