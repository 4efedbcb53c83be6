"""The server's spans in the trace of an application that uses OpenTelemetry."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span

from classwire import Client
from tests.client.test_interceptors import Details
from tests.observability.tracing.conftest import Caller, Spans, Start, parent


class Injecting(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the current context to each call and stream, as gRPC's instrumentation does."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Add the context."""
        return continuation(_injected(details), request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Add the context."""
        return continuation(_injected(details), requests)


def _injected(details: Any) -> Any:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    injected = Details(details)
    injected.metadata = (*(details.metadata or ()), *carrier.items())
    return injected


def by_metadata(client: Client) -> None:
    """Pass the context as metadata."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    client.classify("good", metadata=carrier)


def by_call(client: Client) -> None:
    """Let an interceptor add the context to a call."""
    client.classify("good")


def by_stream(client: Client) -> None:
    """Let an interceptor add the context to a stream."""
    list(client.classify_stream(["good"]))


@pytest.mark.parametrize("call", [by_metadata, by_call, by_stream])
def test_the_context_of_an_application(
    traced: Start, spans: Spans, call: Callable[[Client], None]
) -> None:
    """The server's span is below the application's current span."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("application")
    server = traced().server
    interceptors = [] if call is by_metadata else [Injecting()]
    with (
        Client(server.target, interceptors=interceptors) as client,
        tracer.start_as_current_span("application") as span,
    ):
        call(client)

    name = "/StreamClassify" if call is by_stream else "/Classify"
    assert parent(spans.one(_caller(span), name)) == span.get_span_context().span_id


def _caller(span: Span) -> Caller:
    caller = Caller()
    caller.trace_id = span.get_span_context().trace_id
    return caller
