"""Draining under load: accepted calls are answered, all others end at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.rpc.call_executor import AdmittingServices
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import failure_of, refusal
from tests.contract.test_busy import DRAINING, hold, waiting
from tests.contract.test_stream_limits import ringing

Connect = Callable[[str], grpc.Channel]


def request(text: str) -> pb.ClassifyRequest:
    """A request with a text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=text))


def test_every_accepted_call_is_answered(fake: Callable[..., Server], connect: Connect) -> None:
    """With every thread busy, calls queued for a thread and streams with unanswered items, a drain
    answers what was accepted and ends queued and new calls with DRAINING.
    """
    others = ringing()
    engine = FakeEngine()
    server = fake(engine, rpc_threads=12, max_streams=4, batch_tokens=8)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    with ExitStack() as left, ThreadPoolExecutor(1) as pool:
        streams = [left.enter_context(Conversation(channel)) for _ in range(4)]
        for stream in streams:
            stream.read_started()
        held = hold(stub, engine)
        for n in range(1, 11):
            for stream in streams:
                stream.send_items(item(str(n), "love " * n))
        calls = [
            stub.Classify.future(request("book " * n), timeout=PATIENCE_S) for n in range(1, 21)
        ]
        assert eventually(lambda: server.gate.in_flight == 12)
        assert eventually(lambda: server.calls.waiting == 13)
        assert eventually(lambda: waiting(server) == 4 * 10 + 7)
        closed = threading.Event()
        server.gate.listen(closed.set)

        stopping = pool.submit(server.stop)

        assert closed.wait(PATIENCE_S)
        for _ in range(5):
            assert refusal(lambda: stub.Classify(request("late"), timeout=PATIENCE_S)) == DRAINING
        engine.release()
        assert held.result().result.scores
        for stream in streams:
            answers = stream.read_results(10)
            assert [answer.id for answer in answers] == [str(n) for n in range(1, 11)]
            assert refusal(stream.read) == DRAINING
        failures = [error for error in (call.exception(PATIENCE_S) for call in calls) if error]
        assert len(failures) == 13
        for error in failures:
            assert isinstance(error, grpc.RpcError)
            assert failure_of(error) == DRAINING
        stopping.result(PATIENCE_S)
    assert not readers()
    assert eventually(lambda: ringing() <= others)


def test_the_drain_is_bounded(fake: Callable[..., Server], connect: Connect) -> None:
    """Calls without an answer at the drain's timeout end with UNAVAILABLE, though the engine still
    computes them.
    """
    engine = FakeEngine()
    server = fake(engine, drain_timeout_s=0.1)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    with Conversation(channel) as stream, ThreadPoolExecutor(1) as pool:
        stream.read_started()
        held = hold(stub, engine)
        stream.send_items(item("a", "love"))
        assert eventually(lambda: waiting(server) == 1)

        stopping = pool.submit(server.stop)

        for ended in (held.exception(PATIENCE_S), stream.call):
            assert isinstance(ended, grpc.Call)
            assert ended.code() is grpc.StatusCode.UNAVAILABLE
        assert eventually(lambda: not readers())
        assert not stopping.done()
        engine.release()
        stopping.result(PATIENCE_S)


def test_calls_that_come_before_the_port_closes_get_draining(
    fake: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no call in flight, a drain still answers calls until none comes."""
    server = fake(FakeEngine())
    stub = ClassifyServiceStub(connect(server.target))
    reasons: list[str] = []

    def wait(admitting: AdmittingServices, timeout_s: float) -> None:
        failure = refusal(lambda: stub.Classify(request("book"), timeout=PATIENCE_S))
        reasons.append(failure.reason)

    monkeypatch.setattr(AdmittingServices, "wait_until_quiet", wait)
    server.stop()

    assert reasons == ["DRAINING"]
