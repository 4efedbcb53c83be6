"""Applications that use OpenTelemetry, and the server in the same trace."""

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
    """Gives the current context to each call and stream, as gRPC's instrumentation does."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Call on."""
        return continuation(_injected(details), request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Call on."""
        return continuation(_injected(details), requests)


def _injected(details: Any) -> Any:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    injected = Details(details)
    injected.metadata = (*(details.metadata or ()), *carrier.items())
    return injected


def by_metadata(client: Client) -> None:
    """Each call is given it."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    client.classify("good", metadata=carrier)


def by_call(client: Client) -> None:
    """An interceptor gives it."""
    client.classify("good")


def by_stream(client: Client) -> None:
    """An interceptor gives it to streams as well."""
    list(client.classify_stream(["good"]))


@pytest.mark.parametrize("call", [by_metadata, by_call, by_stream])
def test_the_context_of_an_application(
    traced: Start, spans: Spans, call: Callable[[Client], None]
) -> None:
    """The server's span lies below the one that is current where the client is called."""
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
