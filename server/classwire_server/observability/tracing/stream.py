"""What is told of a stream, which may be endless: a span of its own, and some of its messages."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Link, Tracer, set_span_in_context

from classwire.contract.reasons import CODES, Reason
from classwire_server.errors import RequestError
from classwire_server.rpc.call_record import CallRecord, TextsRead

from .spans import FAULTS, fail, reason_of
from .trace import Trace

if TYPE_CHECKING:
    from classwire_server.scheduling.batch import Pending

FIRST_MESSAGES = 16
"""So many messages of a traced stream are part of its trace."""


class StreamTrace:
    """A stream, traced or not.

    The first messages of a traced stream lie below its span. All that come later, and those of a
    stream that is not traced itself, are chosen as calls are, each with a trace of its own: so no
    trace is endless.
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
        """A message was read: returns what is told of its texts from now on, if anything."""
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
        message = MessageTrace(
            self._tracer, self._record, self._messages, read, context, links, self._open.discard
        )
        self._open.add(message)
        return message.texts_read(read)

    def call_ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """The stream is over, and with it messages that nobody will answer."""
        for message in tuple(self._open):
            message.end()
        if self._trace is not None:
            self._trace.span.set_attribute("classwire.messages", self._messages)
            self._trace.call_ended(record, code)


class MessageTrace(Trace):
    """A message of a stream, until the last of its texts has its answer or error."""

    def __init__(
        self,
        tracer: Tracer,
        record: "CallRecord",
        number: int,
        read: TextsRead,
        context: Context,
        links: Sequence[Link],
        when_over: Callable[["MessageTrace"], None],
    ) -> None:
        super().__init__(
            tracer,
            f"{record.method.name} message",
            read.began_s,
            context=context,
            links=links,
            attributes={"classwire.request_id": record.request_id, "classwire.message": number},
        )
        self._when_over = when_over
        self._texts, self._tokens = read.texts, read.tokens
        self._left = read.texts - read.bad
        self._reason: Reason | None = None

    def texts_read(self, read: TextsRead) -> Trace:
        """Its texts were read; where none is left that waits, it is over."""
        super().texts_read(read)
        if not self._left:
            self.end()
        return self

    def text_ended(self, text: "Pending") -> None:
        """One more of them has its answer or error."""
        super().text_ended(text)
        self._left -= 1
        self._reason = reason_of(text.error) or self._reason
        if not self._left:
            self.end()

    def refused(self, error: RequestError) -> None:
        """None of them will wait for the engine."""
        self._reason = error.reason
        self.end()

    def end(self) -> None:
        """It is over; one text that failed says why it failed."""
        if self._reason is not None and grpc.StatusCode[CODES[self._reason]] in FAULTS:
            fail(self.span, self._reason, self._reason)
        self._when_over(self)
        self._end(self._reason or "", self._texts, self._tokens, {})
