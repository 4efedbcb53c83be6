"""Metrics count calls by how they end, and callers cannot choose label values."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from classwire.contract.tokens import hash_of, new_token
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.rpc.call_executor import CallExecutor
from classwire_server.rpc.observer import CallObserver
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.observability.metrics.conftest import Observed
from tests.observability.metrics.scrape import Scrape

CALLS = "classwire_calls_total"
LARGE_BYTES = 32 << 20
"""More than gRPC sends before the client reads."""


def ended(server: Server, **labels: str) -> bool:
    """Whether exactly one call with these labels is counted in time."""
    return eventually(lambda: Scrape(server).value(CALLS, **labels) == 1)


def text(words: str) -> pb.ClassifyRequest:
    """A call with one text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=words))


def test_a_caller_who_leaves(observed: Observed, connect: Any, engine: FakeEngine) -> None:
    """A call and a stream that their caller cancels count as CANCELLED."""
    server = observed()
    channel = connect(server.target)
    stub: Any = ClassifyServiceStub(channel)
    with Conversation(channel) as stream:
        stream.read_started()
    assert ended(server, method="classwire.v1.ClassifyService/StreamClassify", code="CANCELLED")

    call = stub.Classify.future(text("slow"), timeout=PATIENCE_S)
    engine.wait_for(lambda engine: "slow" in engine.texts)
    call.cancel()

    assert ended(server, method="classwire.v1.ClassifyService/Classify", code="CANCELLED")
    assert Scrape(server).value("classwire_rpc_threads_busy") == 0


def test_callers_who_leave_before_their_message(observed: Observed, connect: Any) -> None:
    """Calls cancelled before their message count as CANCELLED, not as UNIMPLEMENTED."""
    server = observed()
    method: Any = connect(server.target).stream_unary("/classwire.v1.ClassifyService/Classify")
    silent: SimpleQueue[bytes | None] = SimpleQueue()
    calls = [method.future(iter(silent.get, None)) for _ in range(40)]
    assert eventually(lambda: Scrape(server).value("classwire_rpc_threads_busy") == len(calls))

    for call in calls:
        call.cancel()
    for _ in calls:  # only after all are cancelled; else a call would end by itself
        silent.put(None)

    assert eventually(lambda: Scrape(server).value(CALLS) == len(calls))
    assert Scrape(server).value(CALLS, code="CANCELLED") == len(calls)


def test_a_caller_who_leaves_during_the_response() -> None:
    """A call counts as CANCELLED if its caller leaves while gRPC still sends the response."""
    codes: SimpleQueue[grpc.StatusCode] = SimpleQueue()
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda raw, context: bytes(LARGE_BYTES))
    executor = CallExecutor(ThreadPoolExecutor(1))
    server = grpc.server(
        executor,
        interceptors=[CallObserver({}, [lambda record, code: codes.put(code)], executor)],
        options=[("grpc.max_send_message_length", 2 * LARGE_BYTES)],
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Service", {"Large": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: Any = channel.unary_stream("/test.Service/Large")
            call = method(b"", timeout=2 * PATIENCE_S)
            call.initial_metadata()  # the answer is being sent
            call.cancel()
            assert codes.get(timeout=PATIENCE_S) is grpc.StatusCode.CANCELLED
    finally:
        server.stop(None).wait()


def test_a_deadline(observed: Observed, connect: Any, engine: FakeEngine) -> None:
    """A call whose deadline passes while it runs counts as DEADLINE_EXCEEDED."""
    server = observed()
    stub: Any = ClassifyServiceStub(connect(server.target))

    with pytest.raises(grpc.RpcError):
        stub.Classify(text("slow"), timeout=0.2)

    assert ended(server, code="DEADLINE_EXCEEDED")


def test_unknown_methods_and_models(
    observed: Observed, connect: Callable[[str], grpc.Channel], tmp_path: Any
) -> None:
    """Calls of unknown methods and models are counted, with or without credentials. Their names
    are not label values.
    """
    open_server = observed()
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[alice]\ntokens = ["{hash_of(new_token("alice"))}"]\n')
    closed_server = observed(callers=str(callers))
    for server in (open_server, closed_server):
        channel = connect(server.target)
        for number in range(20):
            call: Any = channel.unary_unary(f"/made.up.Service{number}/Method{number}")
            with suppress(grpc.RpcError):
                call(b"", timeout=PATIENCE_S)
            request = pb.ClassifyRequest(model=f"made-up-{number}")
            with suppress(grpc.RpcError):
                ClassifyServiceStub(channel).Classify(request, timeout=PATIENCE_S)

    for server, code in ((open_server, "UNIMPLEMENTED"), (closed_server, "UNAUTHENTICATED")):
        assert eventually(lambda: Scrape(server).value(CALLS) == 40)  # noqa: B023
        scrape = Scrape(server)
        assert scrape.value(CALLS, method="unknown", code=code) == 20
        assert len(scrape.labels(CALLS)) == 2
        assert not any("made" in str(labels) for labels in scrape.labels(CALLS))


def test_overload(observed: Observed, connect: Any, engine: FakeEngine) -> None:
    """A call rejected by a full queue counts once, and each of its texts counts as a failure."""
    server = observed(max_queue_tokens=8)
    stub: Any = ClassifyServiceStub(connect(server.target))
    held = stub.Classify.future(text("slow"), timeout=PATIENCE_S)
    engine.wait_for(lambda engine: "slow" in engine.texts)
    queued = stub.Classify.future(text("good"), timeout=PATIENCE_S)
    assert eventually(lambda: Scrape(server).value("classwire_queue_texts") == 1)

    batch = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=word) for word in ("book", "love")])
    with pytest.raises(grpc.RpcError):
        stub.BatchClassify(batch, timeout=PATIENCE_S)

    assert ended(server, code="RESOURCE_EXHAUSTED", reason="OVERLOADED")
    assert Scrape(server).value("classwire_text_failures_total", reason="OVERLOADED") == 2
    engine.release()
    assert held.result().result.scores
    assert queued.result().result.scores
