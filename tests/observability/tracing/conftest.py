"""Servers whose spans a test can read."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.observability.tracing.tracer import Tracing
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually

numbers = itertools.count(1)


class Caller:
    """A caller with a trace of its own. `metadata` is what it sends."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = next(numbers), next(numbers)
        flags = int(sampled)
        traceparent = f"00-{self.trace_id:032x}-{self.span_id:016x}-{flags:02x}"
        self.metadata = (("traceparent", traceparent), ("tracestate", "vendor=1"))


class Spans:
    """The exported spans."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> Sequence[ReadableSpan]:
        """Return all spans exported so far."""
        return self._exporter.get_finished_spans()

    def of(self, caller: Caller, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait for exactly `count` spans of a caller's trace whose name ends with `name`.

        Returns them in the order of their start.
        """

        def found() -> list[ReadableSpan]:
            spans = [
                s
                for s in self.all()
                if s.name.endswith(name) and context(s).trace_id == caller.trace_id
            ]
            return sorted(spans, key=lambda span: span.start_time or 0)

        assert eventually(lambda: len(found()) >= count)
        assert len(found()) == count
        return found()

    def one(self, caller: Caller, name: str) -> ReadableSpan:
        """Return the only span of that name."""
        [span] = self.of(caller, name)
        return span


def context(span: ReadableSpan) -> SpanContext:
    """Return the context of a span."""
    found = span.get_span_context()
    assert found is not None
    return found


def parent(span: ReadableSpan) -> int:
    """Return the id of the parent span, or 0."""
    return span.parent.span_id if span.parent is not None else 0


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    return context(span).span_id


def linked(span: ReadableSpan) -> set[int]:
    """Return the ids of the spans to which a span links."""
    return {link.context.span_id for link in span.links}


def facts(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span, without the prefix `classwire.`."""
    attributes = span.attributes or {}
    return {name.removeprefix("classwire."): value for name, value in attributes.items()}


@pytest.fixture(scope="session")
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT with five labels."""
    return checkpoint("bert")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """An exporter that keeps the spans in memory."""
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    """The spans of the exporter."""
    return Spans(exporter)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that a test can block."""
    engine = FakeEngine()
    yield engine
    engine.release()


class Traced:
    """A server, and a channel to it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self.channel = channel
        self.stub: Any = ClassifyServiceStub(channel)
        self.dispatcher = server.registry.served("", "model").dispatcher

    def begin(self, words: str, caller: Caller, timeout_s: float = PATIENCE_S) -> Any:
        """Begin a call with one text."""
        return self.stub.Classify.future(one(words), timeout_s, caller.metadata)

    def wait_for_queued(self, texts: int) -> None:
        """Wait until `texts` texts are queued."""
        assert eventually(lambda: self.dispatcher.waiting_texts == texts)

    def wait_for_joined(self, texts: int) -> None:
        """Wait until `texts` texts have joined another."""
        assert eventually(lambda: self.dispatcher.backlog().events.coalesced == texts)


def one(words: str, **more: Any) -> pb.ClassifyRequest:
    """A request with one text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=words), **more)


@pytest.fixture
def traced(
    bert: Path, engine: FakeEngine, exporter: InMemorySpanExporter
) -> Iterator[Callable[..., Traced]]:
    """Starts a server that traces a share of calls: `traced(ratio=1, max_streams=1)`."""
    with ExitStack() as ends:

        def start(ratio: float = 0, **settings: Any) -> Traced:
            provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            config = ServerConfig(port=0, model=(f"tiny={bert}",), **settings)
            server = Server(config, engine.launch, Tracing(provider, ratio))
            ends.enter_context(server)
            return Traced(server, ends.enter_context(grpc.insecure_channel(server.target)))

        yield start


Start = Callable[..., Traced]
