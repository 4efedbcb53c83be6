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
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .contract.reasons import Reason

if TYPE_CHECKING:
    import grpc

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


class _Code:
    """The status code of a class or an error, kept by name: only reading it loads gRPC."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, error: ClasswireError | None, kind: type[ClasswireError]) -> grpc.StatusCode:
        import grpc

        return grpc.StatusCode[(error and error._code) or self._name]


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

    code = _Code("UNKNOWN")

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
        self._code = code and code.name
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
            "code": self._code and self.code,
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

    code = _Code("INVALID_ARGUMENT")


class UnknownModel(ClasswireError):
    """The server has no model of that name, or none that the caller may see."""

    code = _Code("NOT_FOUND")


class Overloaded(ClasswireError):
    """Too much at once: a full queue, too many streams, or the caller's own rate; `reason` says
    which.

    `retry_after_s` is when to come back; a client does, if its deadline allows.
    """

    code = _Code("RESOURCE_EXHAUSTED")


class MessageTooLarge(ClasswireError):
    """A request or an answer is over gRPC's own limit of bytes for a message."""

    code = _Code("RESOURCE_EXHAUSTED")


class Unavailable(ClasswireError):
    """Nobody answers at the target, or the server is loading or shuts down. Safe to retry.

    A client has done so until the deadline, unless it was made with `retry=False`.
    """

    code = _Code("UNAVAILABLE")


class DeadlineExceeded(ClasswireError, TimeoutError):
    """The time of the call, or of a stream's item, ran out."""

    code = _Code("DEADLINE_EXCEEDED")


class Cancelled(ClasswireError):
    """The call was cancelled, as by closing the client while it ran."""

    code = _Code("CANCELLED")


class Unauthenticated(ClasswireError):
    """The server asks for credentials, and the call has none or unknown ones."""

    code = _Code("UNAUTHENTICATED")


class PermissionDenied(ClasswireError):
    """The caller is known, and may not do this."""

    code = _Code("PERMISSION_DENIED")


class Unimplemented(ClasswireError):
    """The server does not have this method: it is older, or it is no Classwire server."""

    code = _Code("UNIMPLEMENTED")


class InternalError(ClasswireError):
    """A defect of the server, or of what lies between; `metadata["id"]` may find its log line."""

    code = _Code("INTERNAL")


class PoisonInput(InternalError):
    """This text brought the engine down twice. Never send it again."""


class UnusableClient(ClasswireError, RuntimeError):
    """The client was closed, or is used in a forked process or on another event loop."""

    code = _Code("FAILED_PRECONDITION")


def _known(reason: Reason | str) -> Reason | str:
    return Reason(reason) if reason in Reason.__members__ else reason
