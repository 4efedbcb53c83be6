"""Errors of a server that is full, loading or draining, and of calls past their deadline."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, Failure, item_failure, refusal

Connect = Callable[[str], grpc.Channel]

SLOW = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
QUICK = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
OTHER = pb.ClassifyRequest(input=pb.TextInput(text=f"{SECRET} {SECRET}"))
BATCH = pb.BatchClassifyRequest(
    inputs=[pb.TextInput(text=f"{number} {SECRET}") for number in (1, 2, 3)]
)
OVERLOADED = Failure(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "OVERLOADED",
    metadata={"queue_tokens": "3"},
    can_retry_later=True,
)
EXPIRED = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE")
LOADING = Failure(grpc.StatusCode.UNAVAILABLE, "LOADING")
DRAINING = Failure(grpc.StatusCode.UNAVAILABLE, "DRAINING")


def hold(stub: ClassifyServiceStub, engine: FakeEngine) -> "grpc.Future[pb.ClassifyResponse]":
    """Occupy the engine with a call until `engine.release()`."""
    call = stub.Classify.future(SLOW, timeout=PATIENCE_S)
    engine.wait_for(lambda engine: any("slow" in text for text in engine.texts))
    return call


def queue_one(
    stub: ClassifyServiceStub, server: Server, engine: FakeEngine
) -> "grpc.Future[pb.ClassifyResponse]":
    """Queue one more call behind the call that occupies the engine."""
    call = stub.Classify.future(QUICK, timeout=PATIENCE_S)
    assert eventually(lambda: waiting(server) > 0)
    return call


def waiting(server: Server) -> int:
    """Number of texts in the queue."""
    [entry] = server.registry.entries()
    assert entry.served is not None
    return entry.served.dispatcher.waiting_texts


@pytest.mark.parametrize("shape", ["unary", "batch"])
def test_full_queue(fake: Callable[..., Server], connect: Connect, shape: str) -> None:
    """A call gets OVERLOADED with a delay when the queue is full; queued calls are answered."""
    engine = FakeEngine()
    server = fake(engine, max_queue_tokens=4)
    stub = ClassifyServiceStub(connect(server.target))
    held = hold(stub, engine)
    queued = queue_one(stub, server, engine)

    failure = refusal(
        lambda: (
            stub.Classify(OTHER, timeout=PATIENCE_S)
            if shape == "unary"
            else stub.BatchClassify(BATCH, timeout=PATIENCE_S)
        )
    )

    assert failure == OVERLOADED
    assert failure.retry_after_s > 0
    engine.release()
    assert held.result().result.scores
    assert queued.result().result.scores
    assert stub.Classify(QUICK, timeout=PATIENCE_S).result.scores


def test_full_queue_holds_streams_back(fake: Callable[..., Server], connect: Connect) -> None:
    """A full queue delays the items of a stream and never fails them."""
    engine = FakeEngine()
    server = fake(engine, max_queue_tokens=8)
    channel = connect(server.target)
    held = hold(ClassifyServiceStub(channel), engine)
    with Conversation(channel) as stream:
        for index in range(10):
            stream.send_items(item(str(index), f"{index} {SECRET}"))
        stream.half_close()
        stream.read_started()
        assert eventually(lambda: bool(waiting(server)))
        engine.release()

        results = stream.read_to_end()

    assert held.result().result.scores
    assert [result.id for result in results] == [str(index) for index in range(10)]
    assert all(result.outcome.HasField("classification") for result in results)


def test_too_many_streams(fake: Callable[..., Server], connect: Connect) -> None:
    """A stream above max_streams gets TOO_MANY_STREAMS with a delay; unary calls are answered."""
    channel = connect(fake(FakeEngine(), max_streams=1).target)
    with Conversation(channel) as first:
        first.read_started()
        with Conversation(channel) as second:
            failure = refusal(second.read)

        assert failure == Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_STREAMS",
            metadata={"max_streams": "1"},
            can_retry_later=True,
        )
        assert failure.retry_after_s > 0
        assert ClassifyServiceStub(channel).Classify(QUICK, timeout=PATIENCE_S).result.scores
        first.send_items(item("a", SECRET))
        assert first.read_results(1)[0].id == "a"


def test_default_timeout(fake: Callable[..., Server], connect: Connect) -> None:
    """A call without a deadline, and each text of a batch, expires in the queue at the default
    timeout; a text in the engine is answered.
    """
    engine = FakeEngine()
    server = fake(engine, default_timeout_s=0.3)
    stub = ClassifyServiceStub(connect(server.target))
    held = hold(stub, engine)

    assert refusal(lambda: stub.Classify(QUICK)) == EXPIRED
    answer = stub.BatchClassify(BATCH)

    assert [item_failure(outcome) for outcome in answer.outcomes] == [EXPIRED] * 3
    engine.release()
    assert held.result().result.scores
    assert stub.Classify(QUICK).result.scores


def test_item_timeout(fake: Callable[..., Server], connect: Connect) -> None:
    """An item still queued at its timeout gets EXPIRED_IN_QUEUE; the stream continues."""
    engine = FakeEngine()
    server = fake(engine)
    channel = connect(server.target)
    held = hold(ClassifyServiceStub(channel), engine)
    with Conversation(channel, item_timeout=Duration(nanos=100_000_000)) as stream:
        stream.read_started()
        stream.send_items(item("late", SECRET), item("late too", f"1 {SECRET}"))

        late = stream.read_results(2)

        assert not held.done()
        assert {result.id for result in late} == {"late", "late too"}
        assert [item_failure(result.outcome) for result in late] == [EXPIRED] * 2
        engine.release()
    with Conversation(channel, item_timeout=Duration(seconds=20)) as stream:
        stream.send_items(item("in time", SECRET))
        stream.half_close()
        [result] = stream.read_to_end()
        assert result.outcome.HasField("classification")


def test_longest_item_timeout(fake: Callable[..., Server], connect: Connect) -> None:
    """The maximum duration of protobuf acts as no timeout: items wait in the engine and for room in
    the queue, and are answered.
    """
    engine = FakeEngine()
    server = fake(engine, max_queue_tokens=2)
    with Conversation(
        connect(server.target), item_timeout=Duration(seconds=315_576_000_000)
    ) as stream:
        stream.send_items(*(item(str(index), f"slow {index} {SECRET}") for index in range(3)))
        stream.half_close()
        assert eventually(lambda: bool(waiting(server)))
        engine.release()

        results = stream.read_to_end()

    assert [result.id for result in results] == ["0", "1", "2"]
    assert all(result.outcome.HasField("classification") for result in results)


def test_loading(bert: Path, connect: Connect) -> None:
    """A server that has not loaded its models answers every call with LOADING."""
    server = Server(ServerConfig(port=0, model=(f"tiny={bert}",)), FakeEngine().launch)
    server.listen()
    try:
        channel = connect(server.target)
        stub = ClassifyServiceStub(channel)
        tokenize = pb.TokenizeRequest(input=QUICK.input)
        assert refusal(lambda: stub.Classify(QUICK, timeout=PATIENCE_S)) == LOADING
        assert refusal(lambda: stub.BatchClassify(BATCH, timeout=PATIENCE_S)) == LOADING
        assert refusal(lambda: stub.Tokenize(tokenize, timeout=PATIENCE_S)) == LOADING
        with Conversation(channel) as stream:
            assert refusal(stream.read) == LOADING
        response = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=PATIENCE_S)
        assert response.model == pb.Model(
            name="tiny", is_default=True, state=pb.MODEL_STATE_LOADING, checkpoint=bert.name
        )

        server.load()

        assert stub.Classify(QUICK, timeout=PATIENCE_S).result.scores
    finally:
        server.stop()


def test_draining(fake: Callable[..., Server], connect: Connect) -> None:
    """A drain answers calls in flight and items that were read, rejects new calls and streams, and
    closes the server.
    """
    engine = FakeEngine()
    server = fake(engine)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    held = hold(stub, engine)
    with Conversation(channel) as stream, ThreadPoolExecutor(1) as pool:
        stream.read_started()
        stream.send_items(item("read", SECRET))
        assert eventually(lambda: bool(waiting(server)))
        closed = threading.Event()
        server.gate.listen(closed.set)

        stopping: Future[None] = pool.submit(server.stop)

        assert closed.wait(PATIENCE_S)
        stream.send_items(item("too late", SECRET))
        assert refusal(lambda: stub.Classify(QUICK, timeout=PATIENCE_S)) == DRAINING
        assert refusal(lambda: stub.BatchClassify(BATCH, timeout=PATIENCE_S)) == DRAINING
        with Conversation(channel) as late:
            assert refusal(late.read) == DRAINING
        assert not stopping.done()
        engine.release()
        assert held.result().result.scores
        assert [result.id for result in stream.read_results(1)] == ["read"]
        assert refusal(stream.read) == DRAINING
        stopping.result(PATIENCE_S)
    assert engine.closed
    with pytest.raises(grpc.RpcError) as gone:
        stub.Classify(QUICK, timeout=PATIENCE_S)
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE


def test_idle_streams_do_not_delay_a_drain(fake: Callable[..., Server], connect: Connect) -> None:
    """A stream without unanswered items ends at once when the server drains."""
    server = fake(FakeEngine())
    with Conversation(connect(server.target)) as stream:
        stream.read_started()

        server.stop()

        assert refusal(stream.read) == DRAINING
