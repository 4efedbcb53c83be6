"""The spans of streams and of their messages."""

from types import SimpleNamespace
from typing import Any

import grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from classwire_server.observability.tracing.stream import FIRST_MESSAGES
from classwire_server.observability.tracing.tracer import Tracing
from classwire_server.rpc.call_record import CallRecord, Method, TextsRead
from classwire_server.scheduling.batch import Priority
from tests.contract.conversation import Conversation, item
from tests.contract.engines import FakeEngine
from tests.observability.tracing.conftest import (
    Caller,
    Spans,
    Start,
    Traced,
    facts,
    id_of,
    linked,
    parent,
)

STREAM = "classwire.v1.ClassifyService/StreamClassify"
MESSAGE = f"{STREAM} message"


def talk(server: Traced, caller: Caller, messages: int = 1) -> None:
    """Send `messages` messages of two texts each, one at a time."""
    with Conversation(server.channel, metadata=caller.metadata) as stream:
        stream.read_started()
        for number in range(messages):
            stream.send_items(item(f"a{number}", "good"), item(f"b{number}", "book"))
            stream.read_results(2)
        stream.half_close()
        stream.read_to_end()


def test_a_message(traced: Start, spans: Spans) -> None:
    """The span of a message is below the stream's and above those of its texts."""
    caller = Caller()
    talk(traced(), caller)

    stream, message = spans.one(caller, STREAM), spans.one(caller, MESSAGE)
    tokenize, queue, infer = (spans.one(caller, name) for name in ("tokenize", "queue", "infer"))
    assert (parent(stream), parent(message)) == (caller.span_id, id_of(stream))
    assert {parent(tokenize), parent(queue), parent(infer)} == {id_of(message)}
    assert (linked(infer), linked(queue)) == ({id_of(message)}, {id_of(infer)})
    assert (facts(message)["message"], facts(message)["texts"]) == (1, 2)
    assert facts(message)["priority"] == "bulk"
    assert (facts(stream)["messages"], facts(stream)["texts"]) == (1, 2)


def test_an_endless_stream(traced: Start, spans: Spans) -> None:
    """The trace of a stream has only its first messages."""
    caller = Caller()
    talk(traced(), caller, FIRST_MESSAGES + 2)

    assert facts(spans.one(caller, STREAM))["messages"] == FIRST_MESSAGES + 2
    assert len(spans.of(caller, MESSAGE, FIRST_MESSAGES)) == FIRST_MESSAGES


def test_messages_by_ratio(traced: Start, spans: Spans) -> None:
    """Later messages are sampled like calls. Each has a trace of its own, linked to the stream."""
    server, caller = traced(ratio=1), Caller()
    talk(server, caller, FIRST_MESSAGES + 1)
    server.server.stop()

    stream = spans.one(caller, STREAM)
    [later] = [span for span in spans.all() if span.name == MESSAGE and span.parent is None]
    assert (facts(later)["message"], linked(later)) == (FIRST_MESSAGES + 1, {id_of(stream)})
    spans.of(caller, "infer", FIRST_MESSAGES)


def test_a_stream_that_is_not_traced(traced: Start, spans: Spans) -> None:
    """If the caller's flag excludes a stream, its messages have no spans either."""
    server = traced(ratio=1)
    talk(server, Caller(sampled=False), 2)
    server.server.stop()

    assert not spans.all()


def test_bad_texts(traced: Start, spans: Spans) -> None:
    """A message ends with its last text, or at once if all its texts are invalid."""
    caller = Caller()
    with Conversation(traced().channel, metadata=caller.metadata) as stream:
        stream.send_items(item("1", ""), item("2", "good"))
        stream.send_items(item("3", ""))
        stream.send_items(item("4", "boom"))
        stream.half_close()
        stream.read_to_end()

    mixed, bad, defect = spans.of(caller, MESSAGE, 3)
    assert facts(mixed)["failed_texts"] == facts(bad)["failed_texts"] == 1
    assert bad.status.status_code is StatusCode.UNSET
    assert (facts(defect)["error.type"], facts(defect)["reason"]) == ("INTERNAL", "INTERNAL")


def test_a_stream_that_is_cancelled(traced: Start, spans: Spans, engine: FakeEngine) -> None:
    """The spans of a cancelled stream and its open messages end."""
    caller = Caller()
    with Conversation(traced().channel, metadata=caller.metadata) as stream:
        stream.send_items(item("1", "slow"))
        engine.wait_for(lambda engine: "slow" in engine.texts)

    assert facts(spans.one(caller, STREAM))["rpc.response.status_code"] == "CANCELLED"
    assert parent(spans.one(caller, MESSAGE)) == id_of(spans.one(caller, STREAM))
    engine.release()


def test_a_message_without_an_answer(exporter: InMemorySpanExporter) -> None:
    """A message that was read but never queued ends with its stream."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider, ratio=1)
    record = CallRecord(Method(STREAM, is_stream=True), "id")
    checkpoint: Any = SimpleNamespace(name="tiny", fingerprint="ab" * 32)

    tracing.begin(record, ())
    assert record.trace is not None
    record.trace.texts_read(TextsRead(checkpoint, Priority.BULK, 2, 1, 1, 9, 1.0, 2.0))
    tracing.ended(record, grpc.StatusCode.UNAVAILABLE)

    names = [span.name for span in exporter.get_finished_spans()]
    assert names == ["tokenize", MESSAGE, STREAM]
