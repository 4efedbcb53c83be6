"""What is told of one call, or of one message of a stream: its span, and those below it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from classwire._reasons import Reason

from ..errors import RequestError
from .reading import TextsRead

if TYPE_CHECKING:
    from ..call_record import CallRecord
    from ..pending import Pending

Attributes = Mapping[str, str | int]

FINGERPRINT_DIGITS = 12
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


class Trace:
    """The span of a call, or of a message of a stream, and those of its texts.

    Texts are read on one thread; they end, and are computed, on those of one dispatcher.
    """

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        began_s: float,
        *,
        context: Context,
        attributes: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> None:
        self._tracer = tracer
        self._clock = Clock()
        self.span: Span = tracer.start_span(
            name,
            context,
            kind,
            attributes,
            links,
            self._clock.ns(began_s),
        )
        self.read: TextsRead | None = None  # last
        self.lost_s = 0.0  # when a worker was last lost with texts of it
        self._cached = 0
        self._failed = 0
        self._is_over = False

    @property
    def link(self) -> Link:
        """To it."""
        return Link(self.span.get_span_context())

    @property
    def model(self) -> Attributes:
        """What its texts are computed by."""
        if self.read is None:
            return {}
        checkpoint = self.read.checkpoint
        return {
            "classwire.model": checkpoint.name,
            "classwire.fingerprint": checkpoint.fingerprint[:FINGERPRINT_DIGITS],
            "classwire.priority": self.read.priority.value,
        }

    def texts_read(self, read: TextsRead) -> "Trace | None":
        """Texts were read: returns what is told of them from now on."""
        self.read = read
        self._failed += read.bad
        self.child(
            "tokenize",
            read.began_s,
            read.ended_s,
            {"classwire.texts": read.texts, "classwire.tokens": read.tokens},
        )
        return self

    def text_ended(self, text: "Pending") -> None:
        """A text that waited for the engine has its answer or error."""
        self._cached += text.cached
        self._failed += reason_of(text.error) is not None

    def refused(self, error: RequestError) -> None:
        """None of its texts will wait for the engine; the end of the call says why."""

    def child(
        self,
        name: str,
        began_s: float,
        ended_s: float,
        attributes: Attributes,
        links: Iterable[Link] = (),
        failure: str = "",
    ) -> Span:
        """A span below this one, of something that is over."""
        span = self._tracer.start_span(
            name,
            set_span_in_context(self.span, Context()),
            attributes=attributes,
            links=list(links),
            start_time=self._clock.ns(began_s),
        )
        if failure:
            fail(span, failure, failure)
        span.end(self._clock.ns(max(began_s, ended_s)))
        return span

    def call_ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """The call is over."""
        reason = record.reason
        attributes = {
            "rpc.response.status_code": code.name,
            "classwire.request_id": record.request_id,
        }
        if code in FAULTS:
            fail(self.span, code.name, reason)
        self._end(reason, record.texts, record.tokens, attributes)

    def _end(self, reason: str, texts: int, tokens: int, attributes: Attributes) -> None:
        if self._is_over:
            return
        self._is_over = True
        counts: dict[str, str | int] = {
            "classwire.texts": texts,
            "classwire.tokens": tokens,
            "classwire.cached_texts": self._cached,
            "classwire.failed_texts": self._failed,
            "classwire.reason": reason,
        }
        known = {name: value for name, value in counts.items() if value}
        self.span.set_attributes({**attributes, **self.model, **known})
        self.span.end(self._clock.ns(time.monotonic()))


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
