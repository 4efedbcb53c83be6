"""Which calls are traced, and to whom it is told."""

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

from .stream import StreamTrace
from .trace import Trace

if TYPE_CHECKING:
    from classwire_server.rpc.call_record import CallRecord

FLUSH_S = 3.0
"""How long the last spans may take to leave."""
_PARENT = ("traceparent", "tracestate")


class Tracing:
    """Begins the traces of calls, on any thread, and ends them.

    A caller's `traceparent` says whether its call is traced; of the others, this `ratio` is. Spans
    go to `provider`, which is to take all; `give_up` makes it stop where it does not end in time.
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
        """A call has come."""
        context = self._context(metadata)
        parent = get_current_span(context).get_span_context() if context else None
        if parent is None or not parent.is_valid:
            is_traced, is_refused = self._is_chosen(), False
        else:
            is_traced = parent.trace_flags.sampled
            is_refused = not is_traced
        trace = self._trace(record, context) if is_traced else None
        if record.method.is_stream and not is_refused:
            record.trace = StreamTrace(self._tracer, record, trace, self._is_chosen)
        else:
            record.trace = trace

    def ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """A call is over."""
        if record.trace is not None:
            record.trace.call_ended(record, code)

    def close(self) -> None:
        """Let the last spans leave, if they do so in time."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(FLUSH_S)
        if closing.is_alive():
            self._give_up()

    def _is_chosen(self) -> bool:
        return random.random() < self._ratio

    def _context(self, metadata: Iterable[tuple[str, str | bytes]]) -> Context | None:
        brought = {key: value for key, value in metadata if key in _PARENT}
        return self._propagator.extract(brought, Context()) if brought else None

    def _trace(self, record: "CallRecord", context: Context | None) -> Trace:
        return Trace(
            self._tracer,
            record.method.name,
            record.began_s,
            context=context or Context(),
            kind=SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": record.method.name},
        )
