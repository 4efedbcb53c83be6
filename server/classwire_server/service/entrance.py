"""Where gRPC brings calls, on its own thread and before anything of them is read."""

import math
import time
from collections.abc import Sequence

import grpc

from ..endings import draining
from ..gate import Gate
from .call_pool import CallPool, Inline
from .interception import Handler
from .refusals import Refused, WireStatus

SAME_REFUSAL_S = 0.01
"""Calls that are refused within so short a time hear the same: to say it costs the most of it."""


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
        self._refusal: Refused | None = None
        self._refusal_s = -math.inf  # when it was made

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
            return Refused(WireStatus(draining()), self._inline)
        if not self._pool.is_full:
            return None
        now_s = time.monotonic()
        retry_after_s = self._pool.refuse(now_s)
        if now_s - self._refusal_s > SAME_REFUSAL_S:
            self._refusal_s = now_s
            error = self._pool.refusal(retry_after_s)
            self._refusal = Refused(WireStatus(error), self._inline)
        return self._refusal
