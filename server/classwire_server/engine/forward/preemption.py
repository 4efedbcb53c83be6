"""Urgent passes go first: one of bulk work stands still for them, between two of its operators.

The operating system would give both the same share of a core, and make the urgent one twice as
slow.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_STILL_S = 6.0
"""How long a pass stands still in all, so that it ends however many urgent ones there are."""


class Preemption:
    """Who goes first among the threads that compute in this process. For use by any thread.

    An urgent pass takes the place of one other, so only one stands still at a time, for no longer
    than `max_still_s` in all.
    """

    def __init__(self, max_still_s: float = MAX_STILL_S) -> None:
        self.max_still_s = max_still_s
        self._changed = threading.Condition()  # guards _urgent and _still
        self._urgent = 0
        self._still = False
        self._here = threading.local()  # left_s: how long this thread's pass may still stand

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Around an urgent pass."""
        with self._changed:
            self._urgent += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Around a pass of bulk work."""
        self._here.left_s = self.max_still_s
        try:
            yield
        finally:
            self._here.left_s = 0.0

    def give_way(self) -> None:
        """Between operators: stand still while an urgent pass runs, if this is one of bulk work."""
        left_s: float = getattr(self._here, "left_s", 0.0)
        if not self._urgent or left_s <= 0:  # without the lock: mostly there is no urgent pass
            return
        with self._changed:
            if self._still:
                return
            self._still = True
            began_s = time.monotonic()
            try:
                self._changed.wait_for(lambda: not self._urgent, left_s)
            finally:
                self._still = False
            self._here.left_s = left_s - (time.monotonic() - began_s)


PREEMPTION = Preemption()
"""That of this process, which torch's operators can reach."""
