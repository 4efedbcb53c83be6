"""What all spans share: their start, their clock, and what counts as a failure."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

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
"""The codes that OpenTelemetry counts as server errors. All others are errors of the caller."""


@dataclass(frozen=True)
class SpanStart:
    """How a span begins. `began_s` is an instant of the monotonic clock."""

    name: str
    began_s: float
    attributes: Attributes
    context: Context = field(default_factory=Context)
    kind: SpanKind = SpanKind.INTERNAL
    links: Sequence[Link] = ()


class Clock:
    """Converts instants of the monotonic clock to nanoseconds since 1970.

    The offset between the two clocks is that of its creation.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def ns(self, instant_s: float) -> int:
        """Return the instant in nanoseconds since 1970."""
        return round(instant_s * 1e9) + self._offset_ns


def fail(span: Span, kind: str, why: str) -> None:
    """Mark a span as failed. `why` is never an exception's message, which may quote a text."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, why or None))


def reason_of(error: BaseException | None) -> Reason | None:
    """Return why a text failed; INTERNAL for exceptions other than RequestError.

    Returns None if it did not fail, or its caller has cancelled it.
    """
    if error is None or isinstance(error, CancelledError):
        return None
    return error.reason if isinstance(error, RequestError) else Reason.INTERNAL
