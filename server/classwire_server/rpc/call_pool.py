"""The threads that serve calls, and which calls may wait for one."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import grpc

from classwire.contract.reasons import Reason
from classwire_server.aggregates import DecayingSum
from classwire_server.errors import Refusal, RequestError, draining, expired_in_queue
from classwire_server.gate import Gate

from .interceptor import Handler
from .load_shedding import LoadShedding
from .rejection import Rejection, WireStatus, WireStatuses

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

REMEMBERED = 0.9
"""What is left of a measurement when the next one has come."""
_DONE: Future[Any] = Future()  # a new one for each call would take a tenth of a rejection
_DONE.set_result(None)
LEAST_RETRY_S = 0.001
SHEDDING_RETRY_S = 0.1
"""When to come back at the earliest while the server sheds calls."""
LEAST_IN_TIME_PER_S = 50.0
"""What a server is taken to serve that has not served any call in time lately."""


class CallPool(ThreadPoolExecutor):
    """Threads for calls, and a bounded queue in front of them. Thread-safe.

    `busy` counts calls that have a thread, `waiting` those that wait for one.
    """

    def __init__(self, threads: int, max_waiting: int, name: str = "rpc") -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.waiting = 0
        self.busy = 0
        self._shedding = LoadShedding(threads, max_waiting)
        self._last_s: float | None = None  # when a call began while others waited behind it
        self._interval_s = 0.0
        self._refused = DecayingSum()
        self._lock = threading.Lock()  # guards all of the above
        self._begun = threading.local()  # how long this thread's call has waited

    @property
    def wait_s(self) -> float:
        """How long a call would wait for a thread, as measured, in seconds."""
        return self.waiting * self._interval_s

    @property
    def is_shedding(self) -> bool:
        """Whether most calls are rejected, since those before them began late."""
        return self._shedding.is_shedding

    def admit(self) -> RequestError | None:
        """The error of a call that comes now; None where it may wait for a thread.

        The time to come back is what the calls that wait and those just rejected need.
        """
        now_s = time.monotonic()
        with self._lock:
            if self._shedding.admits(self.waiting, now_s):
                return None
            least_s, interval_s = LEAST_RETRY_S, self._interval_s
            if self._shedding.is_shedding:  # many that begin are late, and are no measure
                least_s = SHEDDING_RETRY_S
                interval_s = 1 / max(LEAST_IN_TIME_PER_S, self._shedding.in_time_per_s)
            refused = self._refused.add(1, now_s)
            retry_after_s = max(least_s, (self.waiting + refused) * interval_s)
        return RequestError(
            Reason.OVERLOADED,
            "more calls wait than can be served",
            metadata={"waiting_calls": str(self.waiting)},
            retry_after_s=retry_after_s,
        )

    def begin(
        self, left_s: float, reject_late: Callable[[float], RequestError | None]
    ) -> RequestError | None:
        """The error of this thread's call, which begins with so much time left (none where its
        caller has gone); None where `reject_late` has none either.
        """
        error = reject_late(left_s) if left_s > 0 else expired_in_queue()
        with self._lock:
            left_s = left_s if error is None else 0.0
            self._shedding.begins(self._begun.waited_s, left_s, time.monotonic())
        return error

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Serve a call as soon as there is a thread."""
        came_s = time.monotonic()

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
        now_s = time.monotonic()
        self._begun.waited_s = now_s - came_s
        with self._lock:
            self.waiting -= 1
            self.busy += 1
            if self._last_s is not None:
                interval_s = now_s - self._last_s
                kept_s = REMEMBERED * (self._interval_s or interval_s)
                self._interval_s = kept_s + (1 - REMEMBERED) * interval_s
            self._last_s = now_s if self.waiting else None


class Inline(Executor):
    """Runs rejections at once, on the thread that submits them. Their futures have no result."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Run it."""
        try:
            fn(*args, **kwargs)
        except Exception:  # it would end the thread that brings calls, and so the server
            logger.exception("a call can't be rejected")
        return _DONE


class CallExecutor(ThreadPoolExecutor):
    """What a gRPC server runs calls on: each on the pool that is chosen for it.

    gRPC asks for the handler of a call and then submits the call, both on one thread. So whoever
    gives the handler chooses the pool. A call for which none was chosen runs on `default`.
    """

    def __init__(self, default: Executor) -> None:
        super().__init__(1)  # starts no thread
        self._default = default
        self._inline = Inline()
        self._chosen = threading.local()
        self._statuses = WireStatuses()

    def choose(self, pool: Executor | None) -> None:
        """Run the call that comes on this pool; None for the default."""
        self._chosen.pool = pool

    def reject(self, error: Refusal) -> Rejection:
        """A handler that ends the call that comes, on gRPC's own thread: it needs no other."""
        return self.reject_with(self._statuses.of(error))

    def reject_with(self, wire_status: WireStatus) -> Rejection:
        """The same with a status."""
        self.choose(self._inline)
        return Rejection(wire_status)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call."""
        pool = getattr(self._chosen, "pool", None) or self._default
        self._chosen.pool = None
        return pool.submit(fn, *args, **kwargs)


class OnPool(grpc.GenericRpcHandler):
    """Handlers of services whose calls run on a pool."""

    def __init__(
        self, services: Sequence[grpc.GenericRpcHandler], pool: Executor, executor: CallExecutor
    ) -> None:
        self._services = services
        self._pool = pool
        self._executor = executor

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a call; None where there is no such method."""
        for service in self._services:
            handler = service.service(details)
            if handler is not None:
                self._executor.choose(self._pool)
                return handler
        return None


class Entrance(grpc.GenericRpcHandler):
    """Rejects calls while the server drains, and calls that their pool does not admit.

    A rejected call takes no thread, and nothing of it is read.
    """

    def __init__(
        self,
        services: Sequence[grpc.GenericRpcHandler],
        gate: Gate,
        pool: CallPool,
        executor: CallExecutor,
    ) -> None:
        self._services = OnPool(services, pool, executor)
        self._gate = gate
        self._pool = pool
        self._executor = executor

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a call; None where there is no such method."""
        handler = self._services.service(details)
        if handler is None:
            return None
        error = self._pool.admit() if self._gate.is_open else draining()
        return handler if error is None else self._executor.reject(error)
