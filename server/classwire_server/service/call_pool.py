"""The threads that serve calls."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

REMEMBERED = 0.9
"""What is left of a measurement when the next one has come."""


class CallPool(ThreadPoolExecutor):
    """Threads for calls, which counts those that wait for one. Safe for use by any thread."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="rpc")
        self.waiting = 0
        self._last_s: float | None = None  # when a call began while others waited behind it
        self._interval_s = 0.0
        self._lock = threading.Lock()  # guards all of the above

    @property
    def wait_s(self) -> float:
        """How long a call would wait for a thread, as measured, in seconds."""
        return self.waiting * self._interval_s

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call as soon as there is a thread."""

        def serve() -> T:
            self._begin()
            return fn(*args, **kwargs)

        with self._lock:
            self.waiting += 1
        try:
            return super().submit(serve)
        except RuntimeError:  # the pool is shut down
            with self._lock:
                self.waiting -= 1
            raise

    def _begin(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            self.waiting -= 1
            if self._last_s is not None:
                interval_s = now_s - self._last_s
                kept_s = REMEMBERED * (self._interval_s or interval_s)
                self._interval_s = kept_s + (1 - REMEMBERED) * interval_s
            self._last_s = now_s if self.waiting else None


class Inline(ThreadPoolExecutor):
    """No threads: what is given to it is done at once."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
