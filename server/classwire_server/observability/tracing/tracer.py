"""Decides which calls to trace, and begins and ends their traces."""

import random
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from classwire_server import __version__

from .spans import SpanStart
from .stream import StreamTrace
from .trace import Trace

if TYPE_CHECKING:
    from classwire_server.rpc.call_record import CallRecord

FLUSH_S = 3.0
"""Time to send the last spans at shutdown."""
_PARENT = ("traceparent", "tracestate")


class Tracing:
    """Begins and ends the traces of calls, on any thread.

    The sampled flag of a caller's `traceparent` decides whether its call is traced. Of all other
    calls, `ratio` is the share to trace. Spans go to `provider`, which must sample all. `close`
    calls `give_up` if the provider does not shut down in time.
    """

    def __init__(
        self, provider: TracerProvider, ratio: float, give_up: Callable[[], None] = lambda: None
    ) -> None:
        self._provider = provider
        self._give_up = give_up
        self._tracer = provider.get_tracer("classwire", __version__)
        self._ratio = ratio
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, record: "CallRecord", metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Begin the trace of a call, if it is chosen."""
        context = self._context(metadata)
        parent = get_current_span(context).get_span_context() if context else None
        if parent is None or not parent.is_valid:
            is_traced, is_excluded = self._is_chosen(), False
        else:
            is_traced = parent.trace_flags.sampled
            is_excluded = not is_traced
        trace = self._trace(record, context) if is_traced else None
        if record.method.is_stream and not is_excluded:
            record.trace = StreamTrace(self._tracer, record, trace, self._is_chosen)
        else:
            record.trace = trace

    def ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """End the trace of a call."""
        if record.trace is not None:
            record.trace.call_ended(record, code)

    def close(self) -> None:
        """Send the last spans, for at most FLUSH_S."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(FLUSH_S)
        if closing.is_alive():
            self._give_up()

    def _is_chosen(self) -> bool:
        return random.random() < self._ratio

    def _context(self, metadata: Iterable[tuple[str, str | bytes]]) -> Context | None:
        found = {key: value for key, value in metadata if key in _PARENT}
        return self._propagator.extract(found, Context()) if found else None

    def _trace(self, record: "CallRecord", context: Context | None) -> Trace:
        start = SpanStart(
            record.method.name,
            record.began_s,
            {"rpc.system.name": "grpc", "rpc.method": record.method.name},
            context or Context(),
            SpanKind.SERVER,
        )
        return Trace(self._tracer, start)
