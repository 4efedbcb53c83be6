"""Cancelled calls and streams leave the queue and free their threads."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.rpc.call import Call
from classwire_server.server import Server
from classwire_server.service.streaming.classify import ClassifyStream
from classwire_server.service.streaming.lifetime import StreamLimits
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET
from tests.contract.test_busy import hold, waiting

Connect = Callable[[str], grpc.Channel]


def test_cancelled_calls_leave_the_queue_and_their_threads(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """The texts of a cancelled call never reach the engine, and its thread is free."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1)
    stub = ClassifyServiceStub(connect(server.target))
    held = hold(stub, engine)
    for _ in range(2):  # more calls than free threads
        unary = [stub.Classify.future(request(f"u{n}"), timeout=PATIENCE_S) for n in range(3)]
        batch = stub.BatchClassify.future(
            pb.BatchClassifyRequest(inputs=[request(f"b{n}").input for n in range(3)]),
            timeout=PATIENCE_S,
        )
        assert eventually(lambda: waiting(server) == 6)
        for call in unary:
            call.cancel()
        batch.cancel()
        assert eventually(lambda: not waiting(server))
    engine.release()

    assert held.result().result.scores
    assert stub.Classify(request("next"), timeout=PATIENCE_S).result.scores
    assert engine.texts == [f"slow {SECRET}", f"next {SECRET}"]
    assert server.gate.wait_until_empty(PATIENCE_S)


def test_deadline_of_the_caller(fake: Callable[..., Server], connect: Connect) -> None:
    """The caller's deadline ends the call and removes its text from the queue."""
    engine = FakeEngine()
    server = fake(engine)
    stub = ClassifyServiceStub(connect(server.target))
    held = hold(stub, engine)

    late = stub.Classify.future(request("late"), timeout=0.3)

    error = late.exception(PATIENCE_S)
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert eventually(lambda: not waiting(server))
    engine.release()
    assert held.result().result.scores
    assert f"late {SECRET}" not in engine.texts
    assert server.gate.wait_until_empty(PATIENCE_S)


def test_cancelled_streams_leave_nothing_behind(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """Cancelling a stream empties the queue, ends the reader and makes room for another stream."""
    before = set(readers())
    engine = FakeEngine()
    server = fake(engine, max_streams=1, max_queue_tokens=16)
    channel = connect(server.target)
    held = hold(ClassifyServiceStub(channel), engine)
    for _ in range(3):
        with Conversation(channel) as stream:
            stream.read_started()
            for index in range(10):  # more than the queue holds, so the reader blocks
                stream.send_items(item(str(index), f"{index} {SECRET}"))
            assert eventually(lambda: waiting(server) == 2)
        assert eventually(lambda: not waiting(server))
        assert eventually(lambda: not set(readers()) - before)
    engine.release()

    assert held.result().result.scores
    with Conversation(channel) as stream:
        stream.send_items(item("next", SECRET))
        stream.half_close()
        assert [result.id for result in stream.read_to_end()] == ["next"]
    assert engine.texts == [f"slow {SECRET}", SECRET]
    assert server.gate.wait_until_empty(PATIENCE_S)


def test_a_cancelled_stream_is_no_defect(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A read that fails before grpcio reports the cancelled call logs no defect."""

    def requests() -> Iterator[bytes]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig()).SerializeToString()
        raise grpc.RpcError

    call = Call.of(_NeverOver())  # type: ignore[arg-type]
    limits = StreamLimits.of(server.config)

    responses = list(ClassifyStream(server.registry, requests(), call, limits).responses())

    assert [response.WhichOneof("event") for response in responses] == ["started"]
    assert "defect" not in caplog.text


class _NeverOver:
    """The context of a call whose end grpcio has not reported."""

    def time_remaining(self) -> None:
        """None: the call has no deadline."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Accept the callback, and never call it."""
        return True


def request(text: str) -> pb.ClassifyRequest:
    """A request with this text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=f"{text} {SECRET}"))
