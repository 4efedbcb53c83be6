"""The trace of one call, or of one message of a stream: its span and the spans below it."""

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Tracer, set_span_in_context

from classwire_server.errors import RequestError, WorkerLost
from classwire_server.rpc.call_record import CallRecord, TextsRead

from .spans import FAULTS, Attributes, Clock, SpanStart, fail, reason_of

if TYPE_CHECKING:
    from classwire_server.scheduling.batch import Batch, Pending
    from classwire_server.scheduling.execution import ForwardPass

FINGERPRINT_DIGITS = 12


class Trace:
    """The span of a call, or of a message of a stream, and the spans of its texts.

    One thread reads the texts. The threads of one dispatcher run and end them.
    """

    def __init__(self, tracer: Tracer, start: SpanStart) -> None:
        self._tracer = tracer
        self._clock = Clock()
        self.span: Span = tracer.start_span(
            start.name,
            start.context,
            start.kind,
            start.attributes,
            start.links,
            self._clock.ns(start.began_s),
        )
        self.read: TextsRead | None = None  # the latest message
        self.lost_s = 0.0  # when a worker with some of its texts was last lost
        self._cached = 0
        self._failed = 0
        self._is_over = False

    @property
    def link(self) -> Link:
        """A link to its span."""
        return Link(self.span.get_span_context())

    @property
    def model(self) -> Attributes:
        """The attributes of the model that runs its texts."""
        if self.read is None:
            return {}
        checkpoint = self.read.checkpoint
        return {
            "classwire.model": checkpoint.name,
            "classwire.fingerprint": checkpoint.fingerprint[:FINGERPRINT_DIGITS],
            "classwire.priority": self.read.priority.value,
        }

    def texts_read(self, read: TextsRead) -> "Trace | None":
        """Add the span of reading texts. Returns the trace of these texts."""
        self.read = read
        self._failed += read.bad
        counts = {"classwire.texts": read.texts, "classwire.tokens": read.tokens}
        if read.windows > read.texts:
            counts["classwire.windows"] = read.windows
        self.child("tokenize", read.began_s, read.ended_s, counts)
        return self

    def text_ended(self, text: "Pending") -> None:
        """Count a queued text that now has its answer or error."""
        self._cached += text.cached
        self._failed += reason_of(text.error) is not None

    def refused(self, error: RequestError) -> None:
        """Do nothing: the end of the call has the reason."""

    def batch_ran(
        self, batch: "Batch", passes: "Sequence[ForwardPass]", taken_s: float, ended_s: float
    ) -> None:
        """Add a span for each forward pass of a batch, below its first traced call, with links to
        all. Adds to each traced call the time that its texts were queued.
        """
        rows = iter(batch.rows)
        for done in passes:
            of_pass: dict[Trace, list[Pending]] = {}
            for row in islice(rows, done.texts):
                for text in row:
                    if isinstance(text.trace, Trace):
                        of_pass.setdefault(text.trace, []).append(text)
            if of_pass:
                _trace_pass(of_pass, done, taken_s, ended_s)

    def child(
        self,
        name: str,
        began_s: float,
        ended_s: float,
        attributes: Attributes,
        links: Iterable[Link] = (),
        failure: str = "",
    ) -> Span:
        """Add a span below this one, already ended, and return it."""
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
        """End the span of the call."""
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


def _trace_pass(
    of_pass: "dict[Trace, list[Pending]]", done: "ForwardPass", taken_s: float, ended_s: float
) -> None:
    attributes: dict[str, str | int] = {
        "classwire.batch.texts": done.texts,
        "classwire.batch.tokens": done.tokens,
    }
    began_s, failure, lost = taken_s, "", False
    if isinstance(done.logits, Exception):
        lost = isinstance(done.logits, WorkerLost)
        failure = "WORKER_LOST" if lost else type(done.logits).__name__
    else:
        traits = done.logits.traits
        attributes |= {
            "classwire.device": traits.device,
            "classwire.precision": traits.precision.value,
            "classwire.engine": f"{traits.execution.value}, {traits.layout.value}",
        }
        began_s = done.logits.began_s
    first = next(iter(of_pass))
    links = [trace.link for trace in of_pass]
    infer = first.child("infer", began_s, ended_s, {**first.model, **attributes}, links, failure)
    for trace, texts in of_pass.items():
        _trace_wait(trace, texts, began_s, infer)
        if lost:
            trace.lost_s = ended_s


def _trace_wait(trace: Trace, texts: "Sequence[Pending]", until_s: float, infer: Span) -> None:
    """Add the time that a call's texts were queued, 0 if they joined a running pass."""
    since_s = min(text.queued_s for text in texts)
    if any(text.is_suspect for text in texts):
        since_s = max(since_s, trace.lost_s)
    trace.child(
        "queue",
        since_s,
        until_s,
        {"classwire.texts": len(texts)},
        [Link(infer.get_span_context())],
    )
