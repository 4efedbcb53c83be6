"""What can go wrong, as classes.

    ClasswireError
    ├── InvalidInput (ValueError)       the text, an option or an id is wrong; mend it first
    ├── UnknownModel                    no model of that name
    ├── Overloaded                      too much at once; come back after `retry_after_s`
    ├── MessageTooLarge                 a message over gRPC's own size limit, either way
    ├── Unavailable                     nobody answers, or what was asked is loading or ending
    ├── DeadlineExceeded (TimeoutError) the time of the call, or of a stream's item, ran out
    ├── Cancelled                       the call was cancelled
    ├── Unauthenticated                 credentials are missing or not known
    ├── PermissionDenied                the caller is known, and may not do this
    ├── Unimplemented                   the server does not have this method
    ├── InternalError                   a defect of the server, or of what is between
    │   └── PoisonInput                 this text brought the engine down twice; never send it again
    └── UnusableClient (RuntimeError)   a client that is closed, or used across a fork or event loop

An error of a whole call is raised. An error of one text of a batch or stream is that text's
outcome, and raising it is up to the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from ._reasons import DOMAIN, Reason
from .v1 import classwire_pb2 as pb

__all__ = [
    "Cancelled",
    "ClasswireError",
    "DeadlineExceeded",
    "InternalError",
    "InvalidInput",
    "MessageTooLarge",
    "Overloaded",
    "PermissionDenied",
    "PoisonInput",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnknownModel",
    "UnusableClient",
]

_KINDS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"


class ClasswireError(Exception):
    """The base of all errors of a call, or of one text of it. `str()` is one line; they pickle.

    Attributes:
        code: The gRPC status code.
        reason: Why, as a `Reason`; the plain string when the server is newer than this client;
            empty when the error is not Classwire's own (nobody listens, the deadline passed on this
            side).
        message: What is wrong, for people. Never contains the text.
        field: Path of the field that is wrong, such as `inputs[3].text`; empty when no field is.
        metadata: Values that the message speaks of, such as `max_tokens`.
        retry_after_s: Seconds to wait before a retry; None when the server named no time.
        request_id: Finds the call in the server's log: `x-request-id` of its trailers. Empty where
            the error is one text's, or no server answered.
        unanswered: Where the error ended a stream: the ids that were taken from the caller's
            iterable and have no outcome, in that order.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: Reason | str = "",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        request_id: str = "",
        unanswered: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = type(self).code if code is None else code
        self.message = message
        self.reason = _known(reason)
        self.field = field
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.unanswered = unanswered

    def __str__(self) -> str:
        where = f" ({self.field})" if self.field and self.field not in self.message else ""
        return f"{self.reason or self.code.name}: {' '.join(self.message.split())}{where}"

    def __reduce__(self) -> tuple[Callable[..., ClasswireError], tuple[str]]:
        facts: dict[str, Any] = {
            "code": self.code,
            "reason": self.reason,
            "field": self.field,
            "metadata": self.metadata,
            "retry_after_s": self.retry_after_s,
            "request_id": self.request_id,
            "unanswered": self.unanswered,
        }
        return functools.partial(type(self), **facts), (self.message,)


class InvalidInput(ClasswireError, ValueError):
    """The text, an option or an id is wrong: the same call would fail again."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class UnknownModel(ClasswireError):
    """The server has no model of that name, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND


class Overloaded(ClasswireError):
    """Too much at once: a full queue, too many streams, or the caller's own rate; `reason` says
    which.

    `retry_after_s` is when to come back; a client does, if its deadline allows.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class MessageTooLarge(ClasswireError):
    """A request or an answer is over gRPC's own limit of bytes for a message."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(ClasswireError):
    """Nobody answers at the target, or the server is loading or shuts down. Safe to retry.

    A client has done so until the deadline, unless it was made with `retry=False`.
    """

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(ClasswireError, TimeoutError):
    """The time of the call, or of a stream's item, ran out."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(ClasswireError):
    """The call was cancelled, as by closing the client while it ran."""

    code = grpc.StatusCode.CANCELLED


class Unauthenticated(ClasswireError):
    """The server asks for credentials, and the call has none or unknown ones."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(ClasswireError):
    """The caller is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unimplemented(ClasswireError):
    """The server does not have this method: it is older, or it is no Classwire server."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(ClasswireError):
    """A defect of the server, or of what lies between; `metadata["id"]` may find its log line."""

    code = grpc.StatusCode.INTERNAL


class PoisonInput(InternalError):
    """This text brought the engine down twice. Never send it again."""


class UnusableClient(ClasswireError, RuntimeError):
    """The client was closed, or is used in a forked process or on another event loop."""

    code = grpc.StatusCode.FAILED_PRECONDITION


_BY_CODE: Mapping[grpc.StatusCode, type[ClasswireError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.INTERNAL: InternalError,
    # A Classwire server never sends those below: a proxy may, and a handler that died says UNKNOWN.
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.ABORTED: InternalError,
    grpc.StatusCode.ALREADY_EXISTS: InternalError,
    grpc.StatusCode.FAILED_PRECONDITION: InternalError,
    grpc.StatusCode.OUT_OF_RANGE: InternalError,
    grpc.StatusCode.OK: InternalError,
}

_BY_NUMBER: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _known(reason: Reason | str) -> Reason | str:
    return Reason(reason) if reason in Reason.__members__ else reason


def _class_for(code: grpc.StatusCode, reason: Reason | str) -> type[ClasswireError]:
    """The one map from what a server says to a class."""
    if reason == Reason.POISON_INPUT:
        return PoisonInput
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and not reason:
        return MessageTooLarge
    return _BY_CODE[code]


def from_rpc_error(error: grpc.RpcError) -> ClasswireError:
    """Make the error of a call from gRPC's, of either kind of channel."""
    # Pairs, or grpc.aio's mapping, which iterates as pairs but which dict() takes for a mapping.
    pairs: Any = iter(error.trailing_metadata() or ())
    trailers = dict(pairs)
    made = from_status(error.code(), error.details() or "", trailers.get(_DETAILS_KEY))
    made.request_id = str(trailers.get(_REQUEST_ID_KEY, ""))
    return made


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
        # Where a proxy has reset the call behind its trailers, gRPC gives the code of the reset.
        code, message = _BY_NUMBER.get(told.code, code), told.message
    return _class_for(code, info.reason)(
        message or code.value[1],
        code=code,
        reason=info.reason,
        field=violation.field if violation else "",
        metadata=info.metadata,
        retry_after_s=retry_after_s,
    )


def from_item_error(error: pb.ItemError, field: str | None = None) -> ClasswireError:
    """Make the error of one text; `field` replaces the server's path where the caller's differs."""
    code = _BY_NUMBER.get(error.code, grpc.StatusCode.UNKNOWN)
    retry_after_s = None
    if error.HasField("retry_after"):
        retry_after_s = seconds_of(error.retry_after)
    return _class_for(code, error.reason)(
        error.message or code.value[1],
        code=code,
        reason=error.reason,
        field=error.field if field is None else field,
        metadata=error.metadata,
        retry_after_s=retry_after_s,
    )


def seconds_of(duration: duration_pb2.Duration) -> float:
    """A duration as a number, however far it is from what a timedelta can hold."""
    return duration.seconds + duration.nanos / 1e9


def _details_of(told: Any) -> Iterator[Any]:
    """The details of a status that are of a known kind; one that can't be read is passed over."""
    for detail in told.details:
        for kind in _KINDS:
            if detail.Is(kind.DESCRIPTOR):
                with suppress(Exception):  # broken trailers, as in _parsed
                    yield kind.FromString(detail.value)


def _parsed(details: str | bytes | None) -> Any:
    """The `google.rpc.Status` of the trailers; an empty one when what came is none of ours."""
    try:
        return status_pb2.Status.FromString(details if isinstance(details, bytes) else b"")
    except (
        Exception
    ):  # DecodeError of whichever protobuf runtime; a proxy's trailers must not hide the code
        return status_pb2.Status()
