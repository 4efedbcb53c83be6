"""What all spans share: how their times are told, and what counts as a failure."""

import time
from collections.abc import Mapping
from concurrent.futures import CancelledError

import grpc
from opentelemetry.trace import Span, Status, StatusCode

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError

Attributes = Mapping[str, str | int]

FAULTS = frozenset(
    (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""The codes that OpenTelemetry counts as errors of a server; the others are its caller's."""


class Clock:
    """From instants of the monotonic clock to nanoseconds since 1970, as they were related when it
    was made.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def ns(self, instant_s: float) -> int:
        """When that was."""
        return round(instant_s * 1e9) + self._offset_ns


def fail(span: Span, kind: str, why: str) -> None:
    """Say that something failed, in words of ours: an exception's own may quote a text."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, why or None))


def reason_of(error: BaseException | None) -> Reason | None:
    """Why a text failed: what is no error of ours is a defect. None where it did not, or nobody
    waits for it any more.
    """
    if error is None or isinstance(error, CancelledError):
        return None
    return error.reason if isinstance(error, RequestError) else Reason.INTERNAL
