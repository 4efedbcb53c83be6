"""More callers than there are threads and places: who is served, who is told to come back."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.rpc.call_pool import CallPool
from classwire_server.rpc.server_options import LOOKAHEAD_BYTES
from classwire_server.server import HEALTH_THREADS, Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET, Failure, refusal
from tests.contract.test_health import health
from tests.http2 import DATA, END_STREAM, HEADERS, Connection, messages, request

Connect = Callable[[str], grpc.Channel]

CLASSIFY = "/classwire.v1.ClassifyService/Classify"
HEALTH = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
)
CALL = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
SLOW = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))


def test_streams_beyond_every_thread(fake: Callable[..., Server], connect: Connect) -> None:
    """As many streams as there are threads and fifty more, half of which say nothing: those that
    have places keep them, the others are told to come back; calls and health are answered.
    """
    server = fake(FakeEngine(), rpc_threads=12, max_streams=8)
    channel = connect(server.target)
    with ExitStack() as streams:
        opened = [
            streams.enter_context(Conversation(channel, start=bool(number % 2)))
            for number in range(12 + 50)
        ]
        assert eventually(lambda: sum(stream.call.is_active() for stream in opened) == 8)

        for _ in range(20):
            answer = ClassifyServiceStub(channel).Classify(CALL, timeout=PATIENCE_S)
            assert answer.result.scores
            assert health(channel) == HealthCheckResponse.SERVING
        kept = [stream for stream in opened if stream.call.is_active()]
        assert len(kept) == len(readers()) == 8
        for stream in opened:
            if stream not in kept:
                failure = refusal(stream.read)
                assert failure.reason == "TOO_MANY_STREAMS"
                assert failure.can_retry_later
                assert failure.retry_after_s > 0


def test_calls_beyond_those_that_may_wait(fake: Callable[..., Server], connect: Connect) -> None:
    """While every thread is busy, so many calls wait; more are told at once when to come back,
    and health answers. Those that wait are answered.
    """
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1, max_waiting_calls=10)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    busy = [stub.Classify.future(SLOW, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(SLOW, timeout=PATIENCE_S) for _ in range(4 + 10)]
    assert eventually(lambda: server.calls.waiting == 10)

    for _ in range(20):
        failure = refusal(lambda: stub.Classify(CALL, timeout=PATIENCE_S))
        assert failure == Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            metadata={"waiting_calls": "10"},
            can_retry_later=True,
        )
        assert failure.retry_after_s > 0
    with Conversation(channel) as stream:
        assert refusal(stream.read).reason == "OVERLOADED"
    assert health(channel) == HealthCheckResponse.SERVING
    engine.release()
    assert all(call.result().result.scores for call in busy)
    assert stub.Classify(CALL, timeout=PATIENCE_S).result.scores
    assert server.calls.waiting == 0


def test_bytes_of_calls_that_wait(fake: Callable[..., Server], connect: Connect) -> None:
    """Of a call that waits for a thread gRPC takes no more than of any that nobody reads."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1)
    stub = ClassifyServiceStub(connect(server.target))
    busy = [stub.Classify.future(SLOW, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(SLOW, timeout=PATIENCE_S) for _ in range(4)]
    assert eventually(lambda: server.gate.in_flight == 5)
    data = messages(bytes(8 * LOOKAHEAD_BYTES))
    with Connection(server.port, PATIENCE_S) as connection:
        connection.send(request("/classwire.v1.ClassifyService/BatchClassify"))
        assert eventually(lambda: server.calls.waiting > 0)
        for _ in range(20):  # as many chances to take more
            place = connection.sent_bytes
            connection.send_data(data[place : place + connection.may_send_bytes])
            connection.synchronize()
            assert health(connect(server.target)) == HealthCheckResponse.SERVING

        assert connection.sent_bytes <= LOOKAHEAD_BYTES + 16_384
    engine.release()
    assert all(call.result().result.scores for call in busy)


def test_the_wait_for_a_thread_is_measured() -> None:
    """Nobody waits where a thread is free; where none is, the time is known from those before."""
    pool = CallPool(1, max_waiting=100)
    assert pool.submit(int).result(PATIENCE_S) == 0
    waits_s = []
    for calls in (3, 4, 8):
        held, begun = threading.Event(), threading.Event()

        def hold(begun: threading.Event = begun, held: threading.Event = held) -> None:
            begun.set()
            held.wait(PATIENCE_S)

        pool.submit(hold)
        assert begun.wait(PATIENCE_S)
        waiting = [pool.submit(int) for _ in range(calls)]
        assert pool.waiting == calls
        waits_s.append(pool.wait_s / calls)
        held.set()
        assert [call.result(PATIENCE_S) for call in waiting] == [0] * calls
        assert (pool.waiting, pool.wait_s) == (0, 0)

    assert waits_s[0] == 0  # not measured yet
    assert all(wait_s > 0 for wait_s in waits_s[1:])
    pool.shutdown()


def test_refused_calls_are_told_to_come_back_later_and_later() -> None:
    """The more were refused of late, the longer is the time to come back."""
    pool = CallPool(1, max_waiting=4)
    for _ in range(2):
        held = threading.Event()
        calls: list[Future[Any]] = [pool.submit(held.wait, PATIENCE_S)]
        calls += [pool.submit(int) for _ in range(3)]
        held.set()
        for call in calls:
            call.result(PATIENCE_S)

    assert pool._interval_s > 0
    pool._interval_s = 1.0  # longer than the least time to come back

    held.clear()
    calls = [pool.submit(held.wait, PATIENCE_S)]
    assert eventually(lambda: pool.busy == 1)
    calls += [pool.submit(int) for _ in range(4)]

    refused = [pool.admit() for _ in range(40)]

    waits_s = [error.retry_after_s or 0 for error in refused if error is not None]
    assert len(waits_s) == 40
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] > 5 * waits_s[0] > 0
    held.set()
    pool.shutdown()


def test_callers_who_send_no_message(fake: Callable[..., Server], connect: Connect) -> None:
    """Calls that are opened and never made hold threads for a while and no longer: others are
    answered then.
    """
    server = fake(FakeEngine(), rpc_threads=5, max_streams=1, default_timeout_s=0.5)
    channel = connect(server.target)
    with Connection(server.port, PATIENCE_S) as connection:
        for number in range(6):
            connection.send(request(CLASSIFY, 2 * number + 1))
        connection.synchronize()
        assert eventually(lambda: server.calls.waiting == 1)

        answer = ClassifyServiceStub(channel).Classify(CALL, timeout=PATIENCE_S)

        assert answer.result.scores
        for _ in range(6):
            connection.read_until(HEADERS, END_STREAM)
            assert connection.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])


@pytest.mark.parametrize("last", HEALTH)
def test_nobody_who_sends_no_message_takes_health_away(
    fake: Callable[..., Server], connect: Connect, last: str
) -> None:
    """Callers who ask for health and do not tell whose lose their threads, the first of them first;
    one who tells in time gets an answer.
    """
    server = fake(FakeEngine())
    paths = HEALTH * 20
    with Connection(server.port, PATIENCE_S) as flood, Connection(server.port, PATIENCE_S) as slow:
        for number, path in enumerate(paths):
            flood.send(request(path, 2 * number + 1))
        for _ in range(len(paths) - HEALTH_THREADS + 1):
            flood.read_until(HEADERS, END_STREAM)
            assert flood.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])
        slow.send(request(last))
        slow.synchronize()

        assert health(connect(server.target)) == HealthCheckResponse.SERVING
        assert not any(frame.kind == HEADERS for frame in slow.received)
        slow.send_data(messages(b""), end=True)
        slow.read_until(DATA)


@pytest.mark.parametrize("path", [CLASSIFY, *HEALTH])
def test_calls_of_no_message(fake: Callable[..., Server], path: str) -> None:
    """A call that ends before its message is as gRPC has it: no such kind of call."""
    server = fake(FakeEngine())
    with Connection(server.port, PATIENCE_S) as connection:
        connection.send(request(path))
        connection.send_data(b"", end=True)

        connection.read_until(HEADERS, END_STREAM)

        assert connection.trailer("grpc-status") == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
