"""The standard health service: whether each service and model is ready.

grpcio's own servicer deadlocks. It sends to watchers while it holds a lock, and gRPC's one thread
needs this lock when another watcher ends.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from grpc_health.v1.health_pb2 import HealthCheckResponse

from .call import Call
from .timers import Timers

LIVENESS = "classwire.liveness"
"""The name of the process itself in the health service."""
SEND_TIMEOUT_S = 0.1
"""How long a watcher may take to accept a message of a few bytes. One thread sends to all watchers,
so a watcher that does not read delays the others by this time, once: then the server cancels its
call.
"""

Send = Callable[[HealthCheckResponse], None]
"""Sends a message of a watcher's call, and returns once gRPC has sent it."""


def model_health(name: str) -> str:
    """The name of a model in the health service."""
    return f"classwire.model.{name}"


@dataclass(eq=False)
class _Watcher:
    service: str
    call: Call
    send: Send
    sent_status: int | None = None


class Health:
    """Knows the status of each service, and sends it to watchers. Thread-safe.

    While there are watchers, one thread sends to all of them.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._watchers: dict[_Watcher, None] = {}
        self._due: dict[_Watcher, None] = {}  # those that may not have the latest status
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards all of the above
        self._timers = Timers()

    def set(self, service: str, status: int) -> None:
        """Set the status of a service. Returns before its watchers get the status."""
        with self._changed:
            self._statuses[service] = status
            self._wake(service)

    def forget(self, service: str) -> None:
        """Remove a service. Its watchers get SERVICE_UNKNOWN."""
        with self._changed:
            self._statuses.pop(service, None)
            self._wake(service)

    def status(self, service: str) -> int | None:
        """The status of a service; None when there is no such service."""
        with self._changed:
            return self._statuses.get(service)

    def watch(self, service: str, call: Call, send: Send) -> None:
        """Send the status of a service to a caller, now and after each change, until its call ends.

        Returns at once.
        """
        watcher = _Watcher(service, call, send)
        with self._changed:
            self._watchers[watcher] = self._due[watcher] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="health-watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        call.when_over(lambda: self._remove(watcher))
        check_s = call.received_s + call.principal.look_s
        if check_s < math.inf:
            call.when_over(self._timers.set(check_s, partial(_check_principal, call)))

    def _remove(self, watcher: _Watcher) -> None:
        with self._changed:
            self._watchers.pop(watcher, None)
            self._due.pop(watcher, None)
            self._changed.notify()

    def _wake(self, service: str) -> None:
        self._due.update((each, None) for each in self._watchers if each.service == service)
        self._changed.notify()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            watcher, status = due
            cut_s = time.monotonic() + SEND_TIMEOUT_S
            cancel_timer = self._timers.set(cut_s, partial(self._cut, watcher))
            watcher.send(HealthCheckResponse(status=status))
            cancel_timer()

    def _cut(self, watcher: _Watcher, _: float) -> float:
        """Cancel the call of a watcher that does not read, and all watchers of its connection: one
        after another, they would delay the others for too long.
        """
        with self._changed:
            calls = [
                each.call for each in self._watchers if each.call.shares_connection(watcher.call)
            ]
        for call in (watcher.call, *calls):
            call.cancel()
        return math.inf

    def _next(self) -> tuple[_Watcher, int] | None:
        """Wait for a watcher that needs a status; None when there are no watchers any more."""
        with self._changed:
            while self._watchers:
                while self._due:
                    watcher = next(iter(self._due))
                    del self._due[watcher]
                    unknown = HealthCheckResponse.SERVICE_UNKNOWN
                    status = self._statuses.get(watcher.service, unknown)
                    if status != watcher.sent_status:
                        watcher.sent_status = status
                        return watcher, status
                self._changed.wait()
            self._thread = None
        return None


def _check_principal(call: Call, now_s: float) -> float:
    """Cancel the call of a caller who may not call any more; returns when to check again."""
    if call.principal.is_over():
        call.cancel()
        return math.inf
    return now_s + call.principal.look_s
