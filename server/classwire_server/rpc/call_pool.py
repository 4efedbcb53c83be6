"""The threads that serve calls, and the bounded queue in front of them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from classwire.contract.reasons import Reason
from classwire_server.aggregates import DecayingSum
from classwire_server.errors import RequestError, expired_in_queue

from .load_shedding import LoadShedding

P = ParamSpec("P")
T = TypeVar("T")

INTERVAL_WEIGHT = 0.9
"""Weight of the old mean interval between two calls when the pool measures the next one."""
MIN_RETRY_S = 0.001
SHEDDING_MIN_RETRY_S = 0.1
"""Minimum `retry_after_s` while the pool sheds calls."""
MIN_IN_TIME_PER_S = 50.0
"""Rate of calls in time that the pool assumes when it has measured fewer."""


class CallPool(ThreadPoolExecutor):
    """Threads for calls, and a bounded queue in front of them. Thread-safe.

    `busy` counts calls that have a thread, `waiting` calls that wait for one. `clock` returns
    seconds, and never goes back.
    """

    def __init__(
        self,
        threads: int,
        max_waiting: int,
        name: str = "rpc",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.waiting = 0
        self.busy = 0
        self._clock = clock
        self._shedding = LoadShedding(threads, max_waiting)
        self._last_s: float | None = None  # when a call began while others waited behind it
        self._interval_s = 0.0
        self._rejected = DecayingSum()
        self._lock = threading.Lock()  # guards all of the above
        self._begun = threading.local()  # how long this thread's call has waited

    @property
    def wait_s(self) -> float:
        """Estimated time that a new call waits for a thread, in seconds."""
        return self.waiting * self._interval_s

    @property
    def is_shedding(self) -> bool:
        """Whether the pool rejects most calls, because earlier ones began late."""
        return self._shedding.is_shedding

    def admit(self) -> RequestError | None:
        """The error of a call that comes now; None when it may wait for a thread.

        `retry_after_s` is the time that the waiting calls and the recently rejected ones need.
        """
        now_s = self._clock()
        with self._lock:
            if self._shedding.admits(self.waiting, now_s):
                return None
            min_s, interval_s = MIN_RETRY_S, self._interval_s
            if self._shedding.is_shedding:  # the interval would also measure calls that begin late
                min_s = SHEDDING_MIN_RETRY_S
                interval_s = 1 / max(MIN_IN_TIME_PER_S, self._shedding.in_time_per_s)
            rejected = self._rejected.add(1, now_s)
            retry_after_s = max(min_s, (self.waiting + rejected) * interval_s)
        return RequestError(
            Reason.OVERLOADED,
            "more calls wait than can be served",
            metadata={"waiting_calls": str(self.waiting)},
            retry_after_s=retry_after_s,
        )

    def begin(
        self, left_s: float, reject_late: Callable[[float], RequestError | None]
    ) -> RequestError | None:
        """Begin this thread's call with `left_s` seconds left, 0 when its caller has gone.

        Returns EXPIRED_IN_QUEUE when no time is left, else what `reject_late(left_s)` returns.
        """
        error = reject_late(left_s) if left_s > 0 else expired_in_queue()
        with self._lock:
            left_s = left_s if error is None else 0.0
            self._shedding.begins(self._begun.waited_s, left_s, self._clock())
        return error

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call as soon as a thread is free."""
        came_s = self._clock()

        def serve() -> T:
            self._has_thread(came_s)
            try:
                return fn(*args, **kwargs)
            finally:
                with self._lock:
                    self.busy -= 1

        with self._lock:
            self.waiting += 1
        try:
            return super().submit(serve)
        except RuntimeError:  # the pool is shut down
            with self._lock:
                self.waiting -= 1
            raise

    def _has_thread(self, came_s: float) -> None:
        now_s = self._clock()
        self._begun.waited_s = now_s - came_s
        with self._lock:
            self.waiting -= 1
            self.busy += 1
            if self._last_s is not None:
                interval_s = now_s - self._last_s
                old_s = INTERVAL_WEIGHT * (self._interval_s or interval_s)
                self._interval_s = old_s + (1 - INTERVAL_WEIGHT) * interval_s
            self._last_s = now_s if self.waiting else None
