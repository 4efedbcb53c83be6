"""The trace of a stream: its own span, and the traces of some of its messages."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Tracer, set_span_in_context

from classwire.contract.reasons import CODES, Reason
from classwire_server.errors import RequestError
from classwire_server.rpc.call_record import CallRecord, TextsRead

from .spans import FAULTS, SpanStart, fail, reason_of
from .trace import Trace

if TYPE_CHECKING:
    from classwire_server.scheduling.batch import Pending

FIRST_MESSAGES = 16
"""How many messages of a traced stream are part of its trace."""


class StreamTrace:
    """A stream, traced or not.

    The first messages of a traced stream are below its span. Later messages, and those of an
    untraced stream, are sampled like calls, and each has a trace of its own. So no trace grows
    without end.
    """

    def __init__(
        self,
        tracer: Tracer,
        record: "CallRecord",
        trace: Trace | None,
        is_chosen: Callable[[], bool],
    ) -> None:
        self._tracer = tracer
        self._record = record
        self._trace = trace
        self._is_chosen = is_chosen
        self._messages = 0
        self._open: set[MessageTrace] = set()

    def texts_read(self, read: TextsRead) -> Trace | None:
        """Note that a message was read. Returns the trace of its texts, or None."""
        self._messages += 1
        above = self._trace
        if above is not None:
            above.read = read
        if above is not None and self._messages <= FIRST_MESSAGES:
            context, links = set_span_in_context(above.span, Context()), []
        elif self._is_chosen():
            context, links = Context(), [above.link] if above is not None else []
        else:
            return None
        start = SpanStart(
            f"{self._record.method.name} message",
            read.began_s,
            {
                "classwire.request_id": self._record.request_id,
                "classwire.message": self._messages,
            },
            context,
            links=links,
        )
        message = MessageTrace(self._tracer, start, read, self._open.discard)
        self._open.add(message)
        return message.texts_read(read)

    def call_ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """End the stream's span, and those of messages that will get no answer."""
        for message in tuple(self._open):
            message.end()
        if self._trace is not None:
            self._trace.span.set_attribute("classwire.messages", self._messages)
            self._trace.call_ended(record, code)


class MessageTrace(Trace):
    """A message of a stream. Ends when the last of its texts, or of their windows, has an
    answer or error.
    """

    def __init__(
        self,
        tracer: Tracer,
        start: SpanStart,
        read: TextsRead,
        when_over: Callable[["MessageTrace"], None],
    ) -> None:
        super().__init__(tracer, start)
        self._when_over = when_over
        self._texts, self._tokens = read.texts, read.tokens
        self._left = read.windows
        self._reason: Reason | None = None

    def texts_read(self, read: TextsRead) -> Trace:
        """Add the span of reading its texts. Ends the message if no text is queued."""
        super().texts_read(read)
        if not self._left:
            self.end()
        return self

    def text_ended(self, text: "Pending") -> None:
        """Note that a text ended. Ends the message after its last text."""
        super().text_ended(text)
        self._left -= 1
        self._reason = reason_of(text.error) or self._reason
        if not self._left:
            self.end()

    def refused(self, error: RequestError) -> None:
        """End the message: the server rejected it before it queued its texts."""
        self._reason = error.reason
        self.end()

    def end(self) -> None:
        """End the span, with the reason of a text that failed."""
        if self._reason is not None and grpc.StatusCode[CODES[self._reason]] in FAULTS:
            fail(self.span, self._reason, self._reason)
        self._when_over(self)
        self._end(self._reason or "", self._texts, self._tokens, {})
