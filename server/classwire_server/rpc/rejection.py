"""Ends calls with an error, before they have a thread or on the thread that serves them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Literal, NamedTuple

import grpc
from grpc_status import rpc_status

from classwire.contract.reasons import AdminReason, Reason
from classwire_server.errors import Refusal

from .call_record import RECORD, REQUEST_ID, CallRecord
from .status import request_error, status

Listener = Callable[[CallRecord, grpc.StatusCode], None]
"""Called once a call is over, on gRPC's own thread. Must not block."""

LISTENERS: ContextVar[Sequence[Listener]] = ContextVar("LISTENERS", default=())
"""The listeners of this context's call."""

SAME_REJECTION_S = 0.01
"""Calls rejected within this time get the same status, which is the costly part of a rejection."""


class WireStatus(NamedTuple):
    """An error as it goes over the wire. `reason` is empty for errors outside the contract."""

    code: grpc.StatusCode
    details: str
    reason: Reason | AdminReason | Literal[""] = ""
    trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()

    @staticmethod
    def of(error: Refusal) -> "WireStatus":
        """The status of an error."""
        made = rpc_status.to_status(status(error))
        return WireStatus(made.code, made.details, error.reason, tuple(made.trailing_metadata))


class WireStatuses:
    """Cache of the statuses of rejected calls, by reason, for SAME_REJECTION_S. Not thread-safe."""

    def __init__(self) -> None:
        self._made: dict[Reason | AdminReason, tuple[WireStatus, float]] = {}

    def of(self, error: Refusal) -> WireStatus:
        """The status of an error, or that of a recent error with the same reason."""
        now_s = time.monotonic()
        wire_status, made_s = self._made.get(error.reason, _NEVER)
        if wire_status is None or now_s - made_s > SAME_REJECTION_S:
            wire_status = WireStatus.of(error)
            self._made[error.reason] = wire_status, now_s
        return wire_status


_NEVER: tuple[WireStatus | None, float] = (None, -math.inf)


class Rejection(grpc.RpcMethodHandler):  # type: ignore[type-arg]
    """A handler that ends calls of any kind with one error, and reads nothing of them.

    To gRPC its requests are a stream, so that gRPC does not wait for a message. It does not block,
    so gRPC's own thread may run it. Immutable.
    """

    request_streaming, response_streaming = True, False
    request_deserializer = response_serializer = None

    def __init__(self, wire_status: WireStatus) -> None:
        self._status = wire_status

    def stream_unary(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """End a call, and call the listeners of its context once it is over."""
        record = RECORD.get()
        is_observed = context.trailing_metadata()  # the observer has set its id
        if record is None or is_observed:
            _abort(context, self._status)
        else:
            record.reason = self._status.reason
            for listener in LISTENERS.get():
                context.add_callback(partial(listener, record, self._status.code))
            request_id = (REQUEST_ID, record.request_id)
            context.set_trailing_metadata((request_id, *self._status.trailing_metadata))
            context.abort(self._status.code, self._status.details)
        return b""


def end(context: grpc.ServicerContext, failure: Exception | None) -> None:
    """End a call on its own thread; `failure` is None when the caller has gone."""
    if failure is None:
        context.abort(gone(context), "the caller has gone")
    reject(context, request_error(failure))


def reject(context: grpc.ServicerContext, error: Refusal) -> None:
    """End a call on its own thread with an error."""
    _abort(context, WireStatus.of(error))


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
