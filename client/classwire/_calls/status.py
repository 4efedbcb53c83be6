"""Errors from a gRPC status, or from the error of one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.contract.reasons import DOMAIN, Reason
from classwire.errors import (
    CancelledError,
    ClasswireError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MessageTooLargeError,
    OverloadedError,
    PermissionDeniedError,
    PoisonInputError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownModelError,
)
from classwire.v1 import classwire_pb2 as pb

from . import enums

_KINDS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"

_BY_CODE: Mapping[grpc.StatusCode, type[ClasswireError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInputError,
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    # A Classwire server never sends these. A proxy may; gRPC sends UNKNOWN for a crashed handler.
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.ABORTED: InternalError,
    grpc.StatusCode.ALREADY_EXISTS: InternalError,
    grpc.StatusCode.FAILED_PRECONDITION: InternalError,
    grpc.StatusCode.OUT_OF_RANGE: InternalError,
    grpc.StatusCode.OK: InternalError,
}

_BY_NUMBER: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _class_for(code: grpc.StatusCode, reason: Reason | str) -> type[ClasswireError]:
    """The class for a code and reason."""
    if reason == Reason.POISON_INPUT:
        return PoisonInputError
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and not reason:
        return MessageTooLargeError
    return _BY_CODE[code]


def from_rpc_error(error: grpc.RpcError) -> ClasswireError:
    """Make the error of a call from gRPC's, of either kind of channel."""
    trailers = _dict(error.trailing_metadata())
    made = from_status(error.code(), error.details() or "", trailers.get(_DETAILS_KEY))
    made.request_id = request_id_in(error.trailing_metadata())
    return made


def request_id_in(trailers: Any) -> str | None:
    """The id that the server gave the call; None if it sent none."""
    request_id = _dict(trailers).get(_REQUEST_ID_KEY)
    return request_id if isinstance(request_id, str) else None


def _dict(trailers: Any) -> dict[str, str | bytes]:
    # Pairs, or grpc.aio's mapping, which iterates as pairs but which dict() takes for a mapping.
    pairs: Any = iter(trailers or ())
    return dict(pairs)


def from_status(code: grpc.StatusCode, message: str, details: str | bytes | None) -> ClasswireError:
    """Make an error from a status and the bytes of its `google.rpc.Status`."""
    info, violation, retry_after_s = error_details_pb2.ErrorInfo(), None, None
    told = _parsed(details)
    for detail in _details_of(told):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            info = detail if detail.domain == DOMAIN else info
        elif isinstance(detail, error_details_pb2.BadRequest):
            violation = next(iter(detail.field_violations), violation)
        else:
            retry_after_s = seconds_of(detail.retry_delay)
    if info.reason and told.code:
        # If a proxy reset the call after its trailers, gRPC's code is that of the reset.
        code, message = _BY_NUMBER.get(told.code, code), told.message
    if info.reason == Reason.UNKNOWN_ENUM:
        # The client sends only what it knows, so this server does not know what the client knows.
        sent = enums.sent(violation.field if violation else "", info.metadata.get("value", ""))
        message = f"it does not know {sent}" if sent else message
        message = f"the server is older than this client: {message}"
    return _class_for(code, info.reason)(
        message or code.value[1],
        code=code,
        reason=info.reason or None,
        field=violation.field or None if violation else None,
        metadata=info.metadata,
        retry_after_s=retry_after_s,
    )


def from_item_error(error: pb.ItemError) -> ClasswireError:
    """Make the error of one text."""
    code = _BY_NUMBER.get(error.code, grpc.StatusCode.UNKNOWN)
    retry_after_s = None
    if error.HasField("retry_after"):
        retry_after_s = seconds_of(error.retry_after)
    return _class_for(code, error.reason)(
        error.message or code.value[1],
        code=code,
        reason=error.reason or None,
        field=error.field or None,
        metadata=error.metadata,
        retry_after_s=retry_after_s,
    )


def seconds_of(duration: duration_pb2.Duration) -> float:
    """A duration as a number, also outside the range of a timedelta."""
    return duration.seconds + duration.nanos / 1e9


def _details_of(told: Any) -> Iterator[Any]:
    """The details of a status that are of a known kind. It skips those that it cannot parse."""
    for detail in told.details:
        for kind in _KINDS:
            if detail.Is(kind.DESCRIPTOR):
                with suppress(Exception):  # broken trailers, as in _parsed
                    yield kind.FromString(detail.value)


def _parsed(details: str | bytes | None) -> Any:
    """The `google.rpc.Status` of the trailers; an empty one if they have none."""
    try:
        return status_pb2.Status.FromString(details if isinstance(details, bytes) else b"")
    # The DecodeError depends on the protobuf runtime. A proxy's trailers must not hide the code.
    except Exception:
        return status_pb2.Status()
