"""The export of spans to a collector, and its settings."""

import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from classwire_server.observability.tracing import tracer as tracing
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.observability.tracing.conftest import one

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """A collector that keeps OTLP requests."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[Any] = SimpleQueue()
        self._server = grpc.server(ThreadPoolExecutor(1))
        codec: Any = {
            "request_deserializer": trace_service_pb2.ExportTraceServiceRequest.FromString,
            "response_serializer": trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        }
        handlers = {"Export": grpc.unary_unary_rpc_method_handler(self._take, **codec)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.address = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _take(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.put(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def close(self) -> None:
        """Stop the collector."""
        self._server.stop(0).wait()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    collector = Collector()
    yield collector
    collector.close()


Sending = Callable[[str], None]


@pytest.fixture
def call_traced(bert: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """Starts a server that sends traces to an address, makes one call, and stops the server."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "reviews")

    def call(address: str) -> None:
        config = ServerConfig(port=0, model=(f"tiny={bert}",), traces=address, trace_ratio=1)
        with ExitStack() as ends:
            server = ends.enter_context(Server(config, FakeEngine().launch))
            channel = ends.enter_context(grpc.insecure_channel(server.target))
            stub: Any = ClassifyServiceStub(channel)
            assert stub.Classify(one("good"), timeout=PATIENCE_S).result.scores

    yield call
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


def test_a_collector(call_traced: Sending, collector: Collector) -> None:
    """A stopped server has sent all spans, under OTEL_SERVICE_NAME."""
    call_traced(collector.address)

    request = collector.requests.get(timeout=PATIENCE_S)
    [from_resource] = request.resource_spans
    names = {pair.key: pair.value.string_value for pair in from_resource.resource.attributes}
    assert names["service.name"] == "reviews"
    spans = [span.name for scope in from_resource.scope_spans for span in scope.spans]
    assert sorted(spans)[1:] == ["infer", "queue", "tokenize"]


def test_by_environment(
    call_traced: Sending, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --traces env, the address is that of OpenTelemetry's own variable."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    call_traced("env")

    assert collector.requests.get(timeout=PATIENCE_S).resource_spans


def test_no_collector(
    call_traced: Sending, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a collector, the server answers and stops as usual, and logs the failure once."""
    monkeypatch.setattr(tracing, "FLUSH_S", 0.1)
    caplog.set_level(logging.INFO, "classwire_server.observability.tracing")
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        call_traced(f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert eventually(lambda: "traces do not reach the collector" in caplog.text)
    assert caplog.text.count("collector") == 1


@pytest.mark.parametrize("address", ["collector:4317", "http://", "http://host/v1/traces", "on"])
def test_no_address(address: str) -> None:
    """The server rejects an invalid collector address at start."""
    with pytest.raises(ConfigError, match=r"--traces: .* is neither http://HOST:PORT nor env"):
        ServerConfig(traces=address)


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells what to install. Without --traces, the packages are not needed."""

    def find_spec(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("classwire_server.config.tracing.find_spec", find_spec)
    assert not ServerConfig().traces
    with pytest.raises(ConfigError, match=r"pip install 'classwire-server\[tracing\]'"):
        ServerConfig(traces="env")
