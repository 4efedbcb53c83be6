"""Calls that end with an error: before they have a thread, or on the one that serves them."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

import grpc
from grpc import _server
from grpc_status import rpc_status

from classwire.contract.reasons import AdminReason, Reason
from classwire_server.errors import Refusal

from .call_record import RECORD, REQUEST_ID, CallRecord
from .status import request_error, status

log = logging.getLogger(__name__)

Listener = Callable[[CallRecord, grpc.StatusCode], None]
"""Is told of a call that is over, on a thread of gRPC's that must not wait."""

LISTENERS: ContextVar[Sequence[Listener]] = ContextVar("LISTENERS", default=())
"""Who is told of the call that this context serves."""

SAME_REFUSAL_S = 0.01
"""Calls that are refused within so short a time hear the same: to say it costs the most of it."""


class WireStatus:
    """An error as it goes over the wire. Immutable."""

    def __init__(self, error: Refusal) -> None:
        told = rpc_status.to_status(status(error))
        self.reason = error.reason
        self.code: grpc.StatusCode = told.code
        self.details: str = told.details
        self.trailing_metadata = tuple(told.trailing_metadata)


class WireStatuses:
    """What calls hear that are refused by one part of the server: within a short time the same for
    the same reason. Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._made: dict[Reason | AdminReason, tuple[WireStatus, float]] = {}

    def of(self, error: Refusal) -> WireStatus:
        """The error of a call that is refused now, or that of one before it."""
        now_s = time.monotonic()
        wire_status, made_s = self._made.get(error.reason, _NEVER)
        if wire_status is None or now_s - made_s > SAME_REFUSAL_S:
            wire_status = WireStatus(error)
            self._made[error.reason] = wire_status, now_s
        return wire_status


_NEVER: tuple[WireStatus | None, float] = (None, -math.inf)


class Refused:
    """A handler for calls of any kind that ends them where gRPC brings them, with nothing read. It
    is its own behavior.

    Its pool has to be one that ends them by `end`, as `Inline` does: what grpcio does to call a
    behavior, and to hear of its error, costs more than all the rest of a refusal. Immutable.
    """

    request_streaming = response_streaming = True
    request_deserializer = response_serializer = None

    def __init__(self, wire_status: WireStatus, pool: ThreadPoolExecutor) -> None:
        self.experimental_thread_pool = pool
        self._status = wire_status

    @property
    def stream_stream(self) -> "Refused":
        """What grpcio takes the behavior from."""
        return self

    def end(self, event: Any, state: Any) -> None:
        """End a call as grpcio would do after its behavior, with its inner parts, on the thread
        that has brought it. Whom its context names is told.
        """
        try:
            with state.condition:
                self._end(event, state)
        except Exception:  # it would end the thread that brings calls, and so the server
            log.exception("a call can't be refused")
            event.call.cancel()

    def _end(self, event: Any, state: Any) -> None:
        metadata = self._status.trailing_metadata
        if (record := state.context.get(RECORD)) is not None:
            record.reason = self._status.reason
            metadata = ((REQUEST_ID, record.request_id), *metadata)
            state.callbacks += [
                partial(tell, record, self._status.code)
                for tell in state.context.get(LISTENERS, ())
            ]
        state.code, state.trailing_metadata = self._status.code, metadata
        _server._abort(state, event.call, state.code, self._status.details.encode())

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """End a call in grpcio's own way: where something is asked first, as for a certificate."""
        _abort(context, self._status)
        return iter(())


def end(context: grpc.ServicerContext, failure: Exception | None) -> None:
    """End a call on its own thread; without a failure its caller has gone."""
    if failure is None:
        context.abort(gone(context), "the caller has gone")
    refuse(context, request_error(failure))


def refuse(context: grpc.ServicerContext, error: Refusal) -> None:
    """End a call on its own thread with an error."""
    _abort(context, WireStatus(error))


def _abort(context: grpc.ServicerContext, wire_status: WireStatus) -> None:
    if (record := RECORD.get()) is not None:
        record.reason = wire_status.reason
    context.set_trailing_metadata(
        (*(context.trailing_metadata() or ()), *wire_status.trailing_metadata)
    )
    context.abort(wire_status.code, wire_status.details)


def gone(context: grpc.ServicerContext) -> grpc.StatusCode:
    """The status of a call whose caller has gone."""
    remaining_s = context.time_remaining()
    is_late = remaining_s is not None and remaining_s <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED
