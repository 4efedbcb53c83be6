"""Runs each call on its pool, and rejections on gRPC's own thread."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import grpc

from classwire_server.errors import Refusal, draining
from classwire_server.gate import Gate

from .call_pool import CallPool
from .interceptor import Handler
from .rejection import Rejection, WireStatus, WireStatuses

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

QUIET_S = 0.2
"""If no call has come for this long during a drain, gRPC has brought all that were sent."""

_DONE: Future[Any] = Future()  # a new one for each call would take a tenth of a rejection
_DONE.set_result(None)


class InlineExecutor(Executor):
    """Runs rejections at once, on the thread that submits them. Their futures have no result."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Run a rejection, and log it when it fails."""
        try:
            fn(*args, **kwargs)
        except Exception:  # it would end gRPC's thread, and so the server
            logger.exception("a call can't be rejected")
        return _DONE


class CallExecutor(ThreadPoolExecutor):
    """The executor of a gRPC server: runs each call on the pool chosen for it.

    gRPC asks for the handler of a call and then submits the call, both on one thread. So the code
    that returns the handler chooses the pool. Without a choice the call runs on `default`.
    """

    def __init__(self, default: Executor) -> None:
        super().__init__(1)  # starts no thread
        self._default = default
        self._inline = InlineExecutor()
        self._chosen = threading.local()
        self._statuses = WireStatuses()

    def choose(self, pool: Executor | None) -> None:
        """Run this thread's next call on a pool; None means the default."""
        self._chosen.pool = pool

    def reject(self, error: Refusal) -> Rejection:
        """A handler that ends this thread's next call with an error, on gRPC's own thread."""
        return self.reject_with(self._statuses.of(error))

    def reject_with(self, wire_status: WireStatus) -> Rejection:
        """A handler that ends this thread's next call with a status, on gRPC's own thread."""
        self.choose(self._inline)
        return Rejection(wire_status)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on the chosen pool."""
        pool = getattr(self._chosen, "pool", None) or self._default
        self._chosen.pool = None
        return pool.submit(fn, *args, **kwargs)


class PooledServices(grpc.GenericRpcHandler):
    """Services whose calls run on one pool."""

    def __init__(
        self, services: Sequence[grpc.GenericRpcHandler], pool: Executor, executor: CallExecutor
    ) -> None:
        self._services = services
        self._pool = pool
        self._executor = executor

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a call; None where no service has the method."""
        for service in self._services:
            handler = service.service(details)
            if handler is not None:
                self._executor.choose(self._pool)
                return handler
        return None


class AdmittingServices(grpc.GenericRpcHandler):
    """Services that reject calls while the server drains, and calls that their pool does not admit.

    A rejected call takes no thread, and the server reads nothing of it.
    """

    def __init__(
        self,
        services: Sequence[grpc.GenericRpcHandler],
        gate: Gate,
        pool: CallPool,
        executor: CallExecutor,
    ) -> None:
        self._services = PooledServices(services, pool, executor)
        self._gate = gate
        self._pool = pool
        self._executor = executor
        self._last_rejected_s = -math.inf

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a call; None where no service has the method."""
        handler = self._services.service(details)
        if handler is None:
            return None
        if not self._gate.is_open:
            self._last_rejected_s = time.monotonic()
            return self._executor.reject(draining())
        error = self._pool.admit()
        return handler if error is None else self._executor.reject(error)

    def wait_until_quiet(
        self,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Wait until no call has come during the drain for QUIET_S, for at most `timeout_s`.

        When a gRPC server stops, it cancels without a status the calls that it has not brought yet.
        """
        end_s = clock() + timeout_s
        while (left_s := min(self._last_rejected_s + QUIET_S, end_s) - clock()) > 0:
            sleep(left_s)
