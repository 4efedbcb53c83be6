"""The standard health service: whether each service and model is ready.

grpcio's own servicer sends to watchers with a lock held that gRPC's one thread needs when another
watcher ends: both wait for ever, and every call with them.
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
"""What the health of the process itself is called."""
SEND_TIMEOUT_S = 0.1
"""How long a watcher may take to accept a message of a few bytes. One thread tells all watchers,
so one that does not read delays the others by this time, once: then the server cancels its call.
"""

Send = Callable[[HealthCheckResponse], None]
"""Sends a message of a watcher's call, and returns once gRPC has sent it."""


def model_health(name: str) -> str:
    """What the health of a model is called."""
    return f"classwire.model.{name}"


@dataclass(eq=False)
class _Watcher:
    service: str
    call: Call
    send: Send
    said: int | None = None


class Health:
    """Says of services what it was told of them. Safe for use by any thread.

    While there are watchers, one thread tells them all.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._watchers: dict[_Watcher, None] = {}
        self._due: dict[_Watcher, None] = {}  # those that may not know what is
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards all of the above
        self._alarms = Timers()

    def set(self, service: str, status: int) -> None:
        """Say so of a service from now on, to its watchers too; waits for none of them."""
        with self._changed:
            self._statuses[service] = status
            self._wake(service)

    def forget(self, service: str) -> None:
        """Say nothing of a service any more: there is none of that name."""
        with self._changed:
            self._statuses.pop(service, None)
            self._wake(service)

    def status(self, service: str) -> int | None:
        """What is said of a service; None when there is none."""
        with self._changed:
            return self._statuses.get(service)

    def watch(self, service: str, call: Call, send: Send) -> None:
        """Tell a caller what is, and then every change, until its call is over."""
        watcher = _Watcher(service, call, send)
        with self._changed:
            self._watchers[watcher] = self._due[watcher] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._tell, name="health-watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        call.when_over(lambda: self._forget(watcher))
        look_s = call.received_s + call.admission.look_s
        if look_s < math.inf:
            call.when_over(self._alarms.set(look_s, partial(_look, call)))

    def _forget(self, watcher: _Watcher) -> None:
        with self._changed:
            self._watchers.pop(watcher, None)
            self._due.pop(watcher, None)
            self._changed.notify()

    def _wake(self, service: str) -> None:
        self._due.update((each, None) for each in self._watchers if each.service == service)
        self._changed.notify()

    def _tell(self) -> None:
        while (due := self._next()) is not None:
            watcher, status = due
            told = self._alarms.set(time.monotonic() + SEND_TIMEOUT_S, partial(self._cut, watcher))
            watcher.send(HealthCheckResponse(status=status))
            told()

    def _cut(self, watcher: _Watcher, _: float) -> float:
        """Cancel the call of a watcher that does not read, and all others of its connection: one
        after another, they would delay the other watchers for too long.
        """
        with self._changed:
            calls = [each.call for each in self._watchers if each.call.is_beside(watcher.call)]
        for call in (watcher.call, *calls):
            call.cancel()
        return math.inf

    def _next(self) -> tuple[_Watcher, int] | None:
        """Wait until there is something to say, and to whom; None when nobody watches any more."""
        with self._changed:
            while self._watchers:
                while self._due:
                    watcher = next(iter(self._due))
                    del self._due[watcher]
                    unknown = HealthCheckResponse.SERVICE_UNKNOWN
                    status = self._statuses.get(watcher.service, unknown)
                    if status != watcher.said:
                        watcher.said = status
                        return watcher, status
                self._changed.wait()
            self._thread = None
        return None


def _look(call: Call, now_s: float) -> float:
    """End the watching of a caller who may not call any more; returns when to look again."""
    if call.admission.is_over():
        call.cancel()
        return math.inf
    return now_s + call.admission.look_s
