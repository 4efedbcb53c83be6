"""The threads that serve calls."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from classwire.contract.reasons import Reason
from classwire_server.aggregates import DecayingSum
from classwire_server.errors import RequestError
from classwire_server.scheduling.admission import LatencyFloor

from .congestion import Congestion
from .load_shedding import ASKS_FIRST, Haste
from .rejection import Refused, WireStatuses

P = ParamSpec("P")
T = TypeVar("T")

REMEMBERED = 0.9
"""What is left of a measurement when the next one has come."""
WAITED_SHARE = 0.25
"""Of the time that a call has left when it begins, it may have waited so much."""
LEAST_WAITING = 1 / 16
"""So many calls for each thread may wait in any case: one that becomes free is to find a call."""
_DONE: Future[Any] = Future()
_DONE.set_result(None)
LEAST_RETRY_S = 0.001
CONGESTED_RETRY_S = 0.1
"""When to come back at the earliest while the server catches up: not before it has."""


class CallPool(ThreadPoolExecutor):
    """Threads for calls; those that wait for one are counted, and bounded by what they can bear.

    A call that waits for a thread can't be refused before it has one, so the line must be short for
    callers in a hurry: when one has waited for too much of its time, fewer may wait, down to a
    few; when it has not, one more. None may while calls come too late to be served. Safe for use
    by any thread; gRPC's own calls `brings` and `brought`.
    """

    def __init__(self, threads: int, max_waiting: int, name: str = "rpc") -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.waiting = 0
        self.busy = 0
        self._least_waiting = min(math.ceil(LEAST_WAITING * threads), max_waiting)
        self._max_waiting = max_waiting
        self._may_wait = float(max_waiting)
        self._last_s: float | None = None  # when a call began while others waited behind it
        self._interval_s = 0.0
        self._refused = DecayingSum()
        self._congestion = Congestion()
        self._lock = threading.Lock()  # guards all of the above
        self._begun = threading.local()  # how long this thread's call has waited; how it must end
        self._inline = Inline(self.brought)
        self._statuses = WireStatuses()  # gRPC's thread alone refuses

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

    def refuse(self) -> RequestError:
        """Count a call as refused now; what it hears: to come back when those refused of late can
        be served.
        """
        least_s = CONGESTED_RETRY_S if self.is_congested else LEAST_RETRY_S
        with self._lock:
            refused = self._refused.add(1, time.monotonic())
            retry_after_s = max(least_s, (self.waiting + refused) * self._interval_s)
        return RequestError(
            Reason.OVERLOADED,
            "more calls wait than can be served",
            metadata={"waiting_calls": str(self.waiting)},
            retry_after_s=retry_after_s,
        )

    def brings(self) -> None:
        """Learn that gRPC brings a call."""
        with self._lock:
            self._congestion.brings(time.monotonic())

    def brought(self) -> None:
        """Learn that the call which gRPC brought has been submitted, or refused."""
        with self._lock:
            self._congestion.brought(time.monotonic())

    def judge(
        self, left_s: float, need: Callable[[float], LatencyFloor | None], *, is_there: bool = True
    ) -> RequestError | None:
        """Learn how much time the call on this thread has left, now that it begins, what it needs
        and whether its caller is there; the error with which it is to end, if it has too little.
        """
        # The clock on the wall may have been put back since a call was found late.
        error: RequestError | None = self._begun.error
        if error is not None:
            return error
        error = Haste.now(left_s, need).error() if is_there else None
        with self._lock:
            if error is not None or self._begun.waited_s > WAITED_SHARE * left_s:
                self._may_wait = max(self._least_waiting, REMEMBERED * self._may_wait)
            elif is_there:
                self._may_wait = min(self._max_waiting, self._may_wait + 1)
        return error

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call as soon as there is a thread; one that has less time left than it needs at
        the least ends at once.
        """
        came_s = time.monotonic()
        haste = Haste.of(args)
        if haste.left_s < math.inf:
            with self._lock:
                self._congestion.comes(haste.left_s)
        if (error := haste.error()) is not None:
            return self._end(error, fn, args)

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

    def _end(
        self, error: RequestError, run: Callable[..., Any], submitted: Sequence[Any]
    ) -> Future[Any]:
        """End a call with an error; by its behavior where that asks first who calls."""
        serve, event, state, behavior, *rest = submitted
        if getattr(behavior, ASKS_FIRST, False):
            self._begun.error = error
        else:
            behavior = Refused(self._statuses.of(error), self._inline)
        return self._inline.submit(run, serve, event, state, behavior, *rest)

    def _begin(self, came_s: float) -> None:
        now_s = time.monotonic()
        self._begun.waited_s, self._begun.error = now_s - came_s, None
        with self._lock:
            self.waiting -= 1
            self.busy += 1
            if self._last_s is not None:
                interval_s = now_s - self._last_s
                kept_s = REMEMBERED * (self._interval_s or interval_s)
                self._interval_s = kept_s + (1 - REMEMBERED) * interval_s
            self._last_s = now_s if self.waiting else None


class Inline(ThreadPoolExecutor):
    """No threads: what is given to it is done at once, and then `after`; a call that is refused is
    ended.
    """

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._after = after

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call, as grpcio hands it over."""
        behavior = args[3] if len(args) > 3 else None
        if isinstance(behavior, Refused):
            _, event, state, *_ = args
            behavior.end(event, state)
            future = _DONE
        else:
            future = Future()
            future.set_result(fn(*args, **kwargs))
        self._after()
        return future
