"""The errors of Classwire's client.

    ClasswireError
    ├── InvalidInputError (ValueError)        a text, an option or an id is wrong; correct it first
    ├── UnknownModelError                     the server has no model of that name
    ├── OverloadedError                       too much load; retry after `retry_after_s`
    ├── MessageTooLargeError                  a message is over gRPC's size limit
    ├── UnavailableError                      no server answers, or it is loading or draining
    ├── DeadlineExceededError (TimeoutError)  the time of a call or stream item ran out
    ├── CancelledError                        the call was cancelled
    ├── UnauthenticatedError                  credentials are missing or unknown
    ├── PermissionDeniedError                 the caller is known, and may not do this
    ├── UnimplementedError                    the server does not have this method
    ├── InternalError                         a defect of the server or of a proxy
    │   └── PoisonInputError                  this text ended two processes; do not retry
    └── UnusableClientError (RuntimeError)    a client after close, fork or change of event loop

The client raises the error of a whole call. The error of one text of a batch or stream is that
text's outcome; `raise_for_errors` raises the first one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from .contract.reasons import Reason

if TYPE_CHECKING:
    import grpc

__all__ = [
    "CancelledError",
    "ClasswireError",
    "DeadlineExceededError",
    "InternalError",
    "InvalidInputError",
    "MessageTooLargeError",
    "OverloadedError",
    "PermissionDeniedError",
    "PoisonInputError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownModelError",
    "UnusableClientError",
]


class _Code:
    """The status code of a class or an error, kept by name: only reading it loads gRPC."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, error: ClasswireError | None, kind: type[ClasswireError]) -> grpc.StatusCode:
        import grpc

        return grpc.StatusCode[(error and error._code) or self._name]


class ClasswireError(Exception):
    """Base class of all errors of a call or of one text. `str()` is one line. Errors pickle.

    Attributes:
        code: The gRPC status code.
        reason: A `Reason`; a plain string if the server is newer than this client; None if the
            error does not come from a Classwire server (as when no server answers).
        message: A description for people. It never contains the text.
        field: Path of the wrong field, such as `inputs[3].text`, or the client's setting to look
            at, such as `tls.ca`; None if there is none.
        metadata: The values in the message, such as `max_tokens`.
        retry_after_s: Seconds to wait before a retry; None if the server gave no time.
        request_id: The call's `x-request-id`, which the server's log has too. None in a stream's
            outcomes, and where no server sent one.
        unanswered: If the error ended a stream: the ids of the items without a result, in order.
    """

    code = _Code("UNKNOWN")

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: Reason | str | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
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

    @property
    def ok(self) -> Literal[False]:
        """False: the text has no scores. A classification's `ok` is True."""
        return False

    @property
    def error(self) -> Self:
        """The error itself. A classification's `error` is None."""
        return self

    def __str__(self) -> str:
        where = f" ({self.field})" if self.field and self.field not in self.message else ""
        return f"{self.reason or self.code.name}: {' '.join(self.message.split())}{where}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the error as values that JSON has, under the key `error`, which no classification
        has: code (by name), reason, message, field, metadata, retry_after_s and request_id.
        """
        return {
            "error": {
                "code": self.code.name,
                "reason": self.reason and str(self.reason),
                "message": self.message,
                "field": self.field,
                "metadata": dict(self.metadata),
                "retry_after_s": self.retry_after_s,
                "request_id": self.request_id,
            }
        }

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


class InvalidInputError(ClasswireError, ValueError):
    """A text, an option or an id is wrong: the same call would fail again."""

    code = _Code("INVALID_ARGUMENT")


class UnknownModelError(ClasswireError):
    """The server has no model of that name, or the caller may not use it."""

    code = _Code("NOT_FOUND")


class OverloadedError(ClasswireError):
    """The queue is full, there are too many streams, or the caller is over its rate limit.

    `reason` says which of them. The client retries after `retry_after_s` if the deadline allows.
    """

    code = _Code("RESOURCE_EXHAUSTED")


class MessageTooLargeError(ClasswireError):
    """A request or a response is larger than gRPC's limit for a message."""

    code = _Code("RESOURCE_EXHAUSTED")


class UnavailableError(ClasswireError):
    """No server answers, or it is loading or draining. Safe to retry.

    The client has already retried until the deadline, or for 1 s if no server has ever answered it;
    with `retry=False` it has not.
    """

    code = _Code("UNAVAILABLE")


class DeadlineExceededError(ClasswireError, TimeoutError):
    """The time of a call or of a stream's item ran out."""

    code = _Code("DEADLINE_EXCEEDED")


class CancelledError(ClasswireError):
    """The call was cancelled: the client was closed while the call ran."""

    code = _Code("CANCELLED")


class UnauthenticatedError(ClasswireError):
    """The server requires credentials, and the call has none or unknown ones."""

    code = _Code("UNAUTHENTICATED")


class PermissionDeniedError(ClasswireError):
    """The caller is known, and may not do this."""

    code = _Code("PERMISSION_DENIED")


class UnimplementedError(ClasswireError):
    """The server does not have this method: it is older, or not a Classwire server."""

    code = _Code("UNIMPLEMENTED")


class InternalError(ClasswireError):
    """A defect of the server or of a proxy. `metadata["id"]`, if there, is in the server's log."""

    code = _Code("INTERNAL")


class PoisonInputError(InternalError):
    """This text ended two of the model's processes. Do not retry it; tell the operator."""


class UnusableClientError(ClasswireError, RuntimeError):
    """The client is closed, or used in a forked process or on another event loop."""

    code = _Code("FAILED_PRECONDITION")


def _known(reason: Reason | str | None) -> Reason | str | None:
    return Reason(reason) if reason is not None and reason in Reason.__members__ else reason
