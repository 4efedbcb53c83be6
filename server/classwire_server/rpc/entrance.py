"""Where gRPC brings calls, on its own thread and before anything of them is read."""

from collections.abc import Sequence

import grpc

from classwire_server.errors import draining
from classwire_server.gate import Gate

from .call_pool import CallPool, Inline
from .interceptor import Handler
from .rejection import Refused, WireStatuses


class Entrance(grpc.GenericRpcHandler):
    """Leads calls to their handlers; refuses them at once while the server drains, when as many
    wait for a thread as may, or while they come too late to be served.

    A refused call holds no thread and no message, so that any number of them can be refused.
    """

    def __init__(
        self,
        services: Sequence[grpc.GenericRpcHandler],
        gate: Gate,
        pool: CallPool,
    ) -> None:
        self._services = services
        self._gate = gate
        self._pool = pool
        self._inline = Inline(pool.brought)
        self._statuses = WireStatuses()

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a call; None when there is no such method."""
        for service in self._services:
            handler = service.service(details)
            if handler is not None:
                self._pool.brings()
                return self._refused() or handler
        return None

    def _refused(self) -> Refused | None:
        if not self._gate.is_open:
            error = draining()
        elif self._pool.is_full:
            error = self._pool.refuse()
        else:
            return None
        return Refused(self._statuses.of(error), self._inline)
