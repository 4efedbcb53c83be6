"""The spans of calls: their parents, links and attributes."""

import time
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from classwire.v1 import classwire_pb2 as pb
from classwire_server.engine import Logits, Terms
from classwire_server.errors import TooLate
from classwire_server.observability.tracing.trace import Trace
from classwire_server.tokenization import Encoding
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.observability.tracing.conftest import (
    Caller,
    Spans,
    Start,
    context,
    facts,
    id_of,
    linked,
    one,
    parent,
)

CLASSIFY = "classwire.v1.ClassifyService/Classify"


def several(*texts: str) -> pb.BatchClassifyRequest:
    """A request with several texts."""
    return pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts])


def test_a_call(traced: Start, spans: Spans) -> None:
    """The server's span is below the caller's; the spans of its text are below the server's."""
    caller = Caller()
    traced().begin("good book", caller).result()

    call = spans.one(caller, CLASSIFY)
    tokenize, queue, infer = (spans.one(caller, name) for name in ("tokenize", "queue", "infer"))
    assert (parent(call), call.kind) == (caller.span_id, SpanKind.SERVER)
    assert context(call).trace_state == {"vendor": "1"}
    assert {parent(tokenize), parent(queue), parent(infer)} == {id_of(call)}
    assert linked(infer) == {id_of(call)}
    assert linked(queue) == {id_of(infer)}
    starts = [span.start_time or 0 for span in (call, tokenize, queue, infer)]
    assert starts == sorted(starts)


def test_attributes(traced: Start, spans: Spans) -> None:
    """A call has its method and code, its model, sizes and request id as attributes."""
    caller = Caller()
    metadata = (*caller.metadata, ("x-request-id", "mine"))
    traced().stub.Classify(one("good book"), timeout=PATIENCE_S, metadata=metadata)

    call, infer = facts(spans.one(caller, CLASSIFY)), facts(spans.one(caller, "infer"))
    assert len(call.pop("fingerprint")) == 12
    assert call == {
        "rpc.system.name": "grpc",
        "rpc.method": CLASSIFY,
        "rpc.response.status_code": "OK",
        "request_id": "mine",
        "model": "tiny",
        "priority": "interactive",
        "texts": 1,
        "tokens": 4,
    }
    assert (infer["batch.texts"], infer["batch.tokens"]) == (1, 4)
    assert (infer["model"], infer["device"], infer["precision"]) == ("tiny", "cpu", "float32")


def test_a_batch(traced: Start, spans: Spans) -> None:
    """Several texts of a call in one batch have one queue span and one pass."""
    caller = Caller()
    request = several("good", "book", "")
    traced().stub.BatchClassify(request, timeout=PATIENCE_S, metadata=caller.metadata)

    call = facts(spans.one(caller, "/BatchClassify"))
    assert (call["texts"], call["failed_texts"]) == (3, 1)
    assert facts(spans.one(caller, "queue"))["texts"] == 2
    assert facts(spans.one(caller, "infer"))["batch.texts"] == 2


def test_calls_in_one_batch(traced: Start, spans: Spans, engine: FakeEngine) -> None:
    """The pass is one span below the first call, with links to all. Queue spans link to it."""
    server = traced()
    held, first, second = Caller(), Caller(), Caller()
    calls = [server.begin("slow", held)]
    engine.wait_for(lambda engine: "slow" in engine.texts)
    calls.append(server.begin("book", second, 2 * PATIENCE_S))
    server.wait_for_queued(1)
    calls.append(server.begin("good", first))  # its deadline is first
    server.wait_for_queued(2)
    engine.release()
    assert all(call.result() for call in calls)

    ids = [id_of(spans.one(caller, CLASSIFY)) for caller in (first, second)]
    infer = spans.one(first, "infer")
    assert (parent(infer), linked(infer)) == (ids[0], set(ids))
    assert facts(infer)["batch.texts"] == 2
    assert [linked(spans.one(caller, "queue")) for caller in (first, second)] == (
        2 * [{id_of(infer)}]
    )
    assert not spans.of(second, "infer", 0)


def test_the_same_text_at_the_same_time(traced: Start, spans: Spans, engine: FakeEngine) -> None:
    """A call that joins a running text links to its pass."""
    server = traced()
    first, second = Caller(), Caller()
    calls = [server.begin("slow", first)]
    engine.wait_for(lambda engine: "slow" in engine.texts)
    calls.append(server.begin("slow", second))
    server.wait_for_joined(1)
    engine.release()
    assert all(call.result() for call in calls)

    infer = spans.one(first, "infer")
    assert linked(infer) == {id_of(spans.one(caller, CLASSIFY)) for caller in (first, second)}
    assert linked(spans.one(second, "queue")) == {id_of(infer)}
    assert facts(spans.one(second, CLASSIFY))["cached_texts"] == 1


def test_a_cached_answer(traced: Start, spans: Spans) -> None:
    """The call has no queue span and no pass, and counts the text as cached."""
    server, caller = traced(cache_mb=1), Caller()
    for metadata in ((), caller.metadata):
        server.stub.Classify(one("good"), timeout=PATIENCE_S, metadata=metadata)

    assert facts(spans.one(caller, CLASSIFY))["cached_texts"] == 1
    assert {span.name for span in spans.all()} == {CLASSIFY, "tokenize"}


def test_a_worker_that_is_lost(
    traced: Start, spans: Spans, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failed pass has a span. The second queue span starts at the end of the first pass, even
    if the thread is slow to trace that pass.
    """
    batch_ran = Trace.batch_ran

    def slowly(*args: Any) -> None:
        monkeypatch.setattr(Trace, "batch_ran", batch_ran)
        time.sleep(0.1)
        batch_ran(*args)

    monkeypatch.setattr(Trace, "batch_ran", slowly)
    caller = Caller()
    with pytest.raises(grpc.RpcError):
        traced().begin("deadly", caller).result()

    call, passes = spans.one(caller, CLASSIFY), spans.of(caller, "infer", 2)
    assert [facts(each)["error.type"] for each in passes] == 2 * ["WORKER_LOST"]
    assert [each.status.status_code for each in passes] == 2 * [StatusCode.ERROR]
    waits = spans.of(caller, "queue", 2)
    assert [linked(wait) for wait in waits] == [{id_of(each)} for each in passes]
    assert waits[1].start_time == passes[0].end_time
    assert facts(call)["reason"] == "POISON_INPUT"
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "POISON_INPUT")


def test_a_batch_that_comes_too_late(
    traced: Start, spans: Spans, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that never ran has no span, and its texts stay in one queue span."""
    infer = engine.infer

    def late(encodings: Sequence[Encoding], terms: Terms) -> Logits:
        monkeypatch.setattr(engine, "infer", infer)
        raise TooLate

    monkeypatch.setattr(engine, "infer", late)
    caller = Caller()
    traced().begin("good", caller).result()

    queue, one_pass = spans.one(caller, "queue"), spans.one(caller, "infer")
    assert linked(queue) == {id_of(one_pass)}
    assert one_pass.status.status_code is not StatusCode.ERROR


def test_a_defect(traced: Start, spans: Spans) -> None:
    """The span of a failed pass has only the type of the error."""
    caller = Caller()
    with pytest.raises(grpc.RpcError):
        traced().begin("boom", caller).result()

    infer = spans.one(caller, "infer")
    assert (facts(infer)["error.type"], infer.status.description) == ("ValueError", "ValueError")
    assert not infer.events


def test_an_error_of_the_caller(traced: Start, spans: Spans) -> None:
    """The span has the reason, but not the status of a server error."""
    caller = Caller()
    with pytest.raises(grpc.RpcError):
        traced().stub.Classify(
            one("good", model="other"), timeout=PATIENCE_S, metadata=caller.metadata
        )

    call = spans.one(caller, CLASSIFY)
    assert facts(call)["rpc.response.status_code"] == "NOT_FOUND"
    assert facts(call)["reason"] == "UNKNOWN_MODEL"
    assert call.status.status_code is StatusCode.UNSET


def test_a_caller_who_leaves(traced: Start, spans: Spans, engine: FakeEngine) -> None:
    """The span of a cancelled call ends at once; that of its pass ends later and links to it."""
    server, caller = traced(), Caller()
    call = server.begin("slow", caller)
    engine.wait_for(lambda engine: "slow" in engine.texts)
    call.cancel()

    assert facts(spans.one(caller, CLASSIFY))["rpc.response.status_code"] == "CANCELLED"
    engine.release()
    assert linked(spans.one(caller, "infer")) == {id_of(spans.one(caller, CLASSIFY))}


@pytest.mark.parametrize(
    ("metadata", "ratio"),
    [
        ((), 0),
        ((("traceparent", "nonsense"),), 0),
        (Caller(sampled=False).metadata, 1),
    ],
    ids=["by ratio", "invalid traceparent", "by the caller"],
)
def test_calls_that_are_not_traced(
    traced: Start, spans: Spans, metadata: object, ratio: float
) -> None:
    """A call that is not sampled has no span."""
    server, caller = traced(ratio), Caller()
    server.stub.Classify(one("good"), timeout=PATIENCE_S, metadata=metadata)
    server.begin("book", caller).result()

    spans.one(caller, "infer")
    assert {context(span).trace_id for span in spans.all()} == {caller.trace_id}


def test_by_ratio(traced: Start, spans: Spans) -> None:
    """A call without a traceparent begins a trace."""
    server = traced(ratio=1)
    server.stub.Classify(one("good"), timeout=PATIENCE_S)
    server.server.stop()

    [call] = [span for span in spans.all() if span.kind is SpanKind.SERVER]
    assert call.parent is None
    assert len(spans.all()) == 4
