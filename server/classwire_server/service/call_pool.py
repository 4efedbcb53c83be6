"""The threads that serve calls."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ..fading import Fading
from .congestion import Congestion
from .deadlines import time_left_s

P = ParamSpec("P")
T = TypeVar("T")

REMEMBERED = 0.9
"""What is left of a measurement when the next one has come."""
WAITED_SHARE = 0.25
"""Of the time that a call has left when it begins, it may have waited so much."""


class CallPool(ThreadPoolExecutor):
    """Threads for calls; those that wait for one are counted, and bounded by what they can bear.

    A call that waits for a thread can't be refused before it has one, so the line must be short for
    callers in a hurry: when one has waited for too much of its time, fewer may wait, down to as
    many as there are threads; when it has not, one more. None may while calls come too late to be
    served. Safe for use by any thread; gRPC's own calls `brings` and `brought`.
    """

    def __init__(self, threads: int, max_waiting: int, name: str = "rpc") -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.waiting = 0
        self.busy = 0
        self._least_waiting = min(threads, max_waiting)
        self._max_waiting = max_waiting
        self._may_wait = float(max_waiting)
        self._last_s: float | None = None  # when a call began while others waited behind it
        self._interval_s = 0.0
        self._refused = Fading()
        self._congestion = Congestion()
        self._lock = threading.Lock()  # guards all of the above
        self._begun = threading.local()  # how long this thread's call has waited; is it too late
        self._inline = Inline(self.brought)

    @property
    def is_full(self) -> bool:
        """Whether no more calls may wait."""
        return self.waiting >= self._may_wait or self.is_congested

    @property
    def is_congested(self) -> bool:
        """Whether calls come too late to be served."""
        return self._congestion.is_there

    @property
    def wait_s(self) -> float:
        """How long a call would wait for a thread, as measured, in seconds."""
        return self.waiting * self._interval_s

    def refused_s(self) -> float:
        """Count a call as refused; when it is to come back, so that those refused of late can be
        served by then.
        """
        with self._lock:
            refused = self._refused.add(1, time.monotonic())
            return (self.waiting + refused) * self._interval_s

    def brings(self) -> None:
        """Learn that gRPC brings a call."""
        with self._lock:
            self._congestion.brings(time.monotonic())

    def brought(self) -> None:
        """Learn that the call which gRPC brought has been submitted, or refused."""
        with self._lock:
            self._congestion.brought(time.monotonic())

    def judge(self, remaining_s: float) -> bool:
        """Learn how much time the call on this thread has left, now that it begins; whether that is
        too late.
        """
        # The clock on the wall may have been put back since a call was found late.
        if self._begun.is_late:
            return True
        waited_s = self._begun.waited_s
        with self._lock:
            if waited_s <= WAITED_SHARE * remaining_s:
                self._may_wait = min(self._max_waiting, self._may_wait + 1)
            else:
                self._may_wait = max(self._least_waiting, REMEMBERED * self._may_wait)
        return remaining_s <= 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call as soon as there is a thread."""
        came_s = time.monotonic()
        left_s = time_left_s(args)
        if left_s < math.inf:
            with self._lock:
                self._congestion.comes(left_s)
        if left_s <= 0:
            self._begun.is_late = True
            return self._inline.submit(fn, *args, **kwargs)

        def serve() -> T:
            self._begin(came_s)
            try:
                return fn(*args, **kwargs)
            finally:
                with self._lock:
                    self.busy -= 1

        with self._lock:
            self.waiting += 1
        try:
            future = super().submit(serve)
        except RuntimeError:  # the pool is shut down
            with self._lock:
                self.waiting -= 1
            raise
        self.brought()
        return future

    def _begin(self, came_s: float) -> None:
        now_s = time.monotonic()
        self._begun.waited_s, self._begun.is_late = now_s - came_s, False
        with self._lock:
            self.waiting -= 1
            self.busy += 1
            if self._last_s is not None:
                interval_s = now_s - self._last_s
                kept_s = REMEMBERED * (self._interval_s or interval_s)
                self._interval_s = kept_s + (1 - REMEMBERED) * interval_s
            self._last_s = now_s if self.waiting else None


class Inline(ThreadPoolExecutor):
    """No threads: what is given to it is done at once, and then `after`."""

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._after = after

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        self._after()
        return future
