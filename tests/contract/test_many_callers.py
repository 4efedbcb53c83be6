"""More callers than threads and places: which calls the server serves, and which it rejects."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.rpc import receive_timeout
from classwire_server.rpc.call_pool import CallPool
from classwire_server.rpc.server_options import LOOKAHEAD_BYTES
from classwire_server.server import HEALTH_THREADS, Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET, Failure, refusal
from tests.contract.test_health import health
from tests.http2 import DATA, END_STREAM, HEADERS, Connection, Frame, messages, request

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
    """With fifty more streams than threads, half of them silent, the first `max_streams` stay open
    and the others get TOO_MANY_STREAMS; the server answers calls and health checks.
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
    """While all threads are busy, `max_waiting_calls` calls wait and get their answers; the server
    rejects more at once, with a retry time, and answers health checks.
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
    """Of a call that waits for a thread, gRPC takes at most LOOKAHEAD_BYTES."""
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
    """`wait_s` is 0 while a thread is free, else it follows from the calls before."""
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


def test_the_retry_time_grows_with_each_rejection() -> None:
    """The more calls the pool has rejected recently, the longer is `retry_after_s`."""
    clock: Iterator[int] = itertools.count()
    pool = CallPool(1, max_waiting=4, clock=lambda: float(next(clock)))
    held = threading.Event()
    calls: list[Future[Any]] = [pool.submit(held.wait, PATIENCE_S)]
    calls += [pool.submit(int) for _ in range(3)]
    held.set()
    for call in calls:
        call.result(PATIENCE_S)
    held.clear()
    calls = [pool.submit(held.wait, PATIENCE_S)]
    assert eventually(lambda: pool.busy == 1)
    calls += [pool.submit(int) for _ in range(4)]
    clock = itertools.repeat(next(clock))

    rejections = [pool.admit() for _ in range(40)]

    waits_s = [error.retry_after_s or 0 for error in rejections if error is not None]
    assert len(waits_s) == 40
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] > 5 * waits_s[0] > 0
    held.set()
    pool.shutdown()


def test_callers_who_send_no_message(fake: Callable[..., Server], connect: Connect) -> None:
    """The server cancels calls without a message after a timeout, and then answers others."""
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
def test_silent_callers_do_not_starve_health_checks(
    fake: Callable[..., Server], connect: Connect, last: str
) -> None:
    """While silent calls hold the threads of the health services, the server cancels the oldest. It
    answers other checks, and a call whose message comes later.
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


def test_late_messages_of_health_checks(
    fake: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More checks than threads, whose messages all come late: the server answers each of them."""
    monkeypatch.setattr(receive_timeout, "MIN_WAIT_S", 2 * PATIENCE_S)
    server = fake(FakeEngine())
    others = health_threads()
    streams = range(1, 4 * HEALTH_THREADS, 2)
    with Connection(server.port, PATIENCE_S) as connection:
        connection.send(*(request(HEALTH[0], stream) for stream in streams))
        assert eventually(lambda: len(health_threads() - others) == HEALTH_THREADS)

        for stream in streams:
            connection.send(Frame(DATA, END_STREAM, stream, messages(b"")))

        for _ in streams:
            connection.read_until(HEADERS, END_STREAM)
            assert connection.trailer("grpc-status") == str(grpc.StatusCode.OK.value[0])


def health_threads() -> set[threading.Thread]:
    """The threads of health checks."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("health_")}


@pytest.mark.parametrize("path", [CLASSIFY, *HEALTH])
def test_calls_of_no_message(fake: Callable[..., Server], path: str) -> None:
    """A call that ends before its message gets UNIMPLEMENTED, gRPC's status for such calls."""
    server = fake(FakeEngine())
    with Connection(server.port, PATIENCE_S) as connection:
        connection.send(request(path))
        connection.send_data(b"", end=True)

        connection.read_until(HEADERS, END_STREAM)

        assert connection.trailer("grpc-status") == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
