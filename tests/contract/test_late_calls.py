"""Calls that the server gets to see when their time is over, and those behind them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.lifecycle import Server
from classwire_server.service import congestion
from classwire_server.service.call_pool import CallPool
from classwire_server.service.deadlines import ENDS_LATE_CALLS
from classwire_server.service.entrance import CONGESTED_WAIT_S, SAME_REFUSAL_S
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, refusal
from tests.contract.test_health import health

Connect = Callable[[str], grpc.Channel]

CALL = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
SHORT_S = 0.3


class Line:
    """A server whose thread for new calls stands still, with a line of calls before it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self._pool = server._calls
        self._go = threading.Event()
        self._stands_still = threading.Event()
        self.stub = ClassifyServiceStub(channel)
        self.threads = len(self._pool._threads)
        self.brings, self._pool.brings = self._pool.brings, self._wait  # type: ignore[method-assign]
        self.first = self.stub.Classify.future(CALL, timeout=PATIENCE_S)
        assert self._stands_still.wait(PATIENCE_S)

    def late(self, calls: int) -> None:
        """Have so many calls wait in it until their time is over."""
        ended = [self.stub.Classify.future(CALL, timeout=SHORT_S) for _ in range(calls)]
        codes = [call.code() for call in ended]
        assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * calls
        time.sleep(2 * congestion.LATE_S)

    def go(self) -> None:
        """Let the thread go on."""
        self._go.set()

    def _wait(self) -> None:
        self._pool.brings = self.brings  # type: ignore[method-assign]
        self._stands_still.set()
        self._go.wait(PATIENCE_S)
        self.brings()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, no pause is seen between two calls."""
    monkeypatch.setattr(congestion, "PAUSE_S", 3_600.0)


@pytest.mark.usefixtures("no_pause")
def test_late_calls_cost_nothing(fake: Callable[..., Server], connect: Connect) -> None:
    """A call whose time is over when the server sees it takes no thread and is not looked at; one
    behind a few of them is answered.
    """
    engine = FakeEngine()
    server = fake(engine)
    line = Line(server, connect(server.target))
    line.late(congestion.LATE_CALLS - 1)
    behind = line.stub.Classify.future(CALL, timeout=PATIENCE_S)

    line.go()

    assert line.first.result().result.scores
    assert behind.result().result.scores
    assert sum(map(len, engine.batches)) <= 2
    assert len(server._calls._threads) <= line.threads + 2
    assert eventually(lambda: not server._gate.in_flight)


@pytest.mark.usefixtures("no_pause")
def test_calls_behind_many_late_ones(
    fake: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind many late calls all are told to come back, streams too, while health answers; after a
    pause they are answered.
    """
    server = fake(FakeEngine())
    channel = connect(server.target)
    line = Line(server, channel)
    line.late(congestion.LATE_CALLS)
    behind = line.stub.Classify.future(CALL, timeout=PATIENCE_S)

    line.go()

    failure = refusal(behind.result)
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert failure.metadata.keys() == {"waiting_calls"}  # the first may wait for its thread
    assert failure.retry_after_s >= CONGESTED_WAIT_S
    refused_s = server._calls._congestion._brought_s
    with Conversation(channel) as stream:
        assert refusal(stream.read).reason == "OVERLOADED"
    # A pause begins when one is refused, which the caller may hear a little earlier.
    assert eventually(lambda: server._calls._congestion._brought_s > refused_s)
    assert health(channel) == 1
    monkeypatch.setattr(congestion, "PAUSE_S", 0.0)
    assert line.stub.Classify(CALL, timeout=PATIENCE_S).result.scores


@pytest.mark.usefixtures("no_pause")
def test_calls_without_a_deadline_are_not_late(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """Whoever sets no deadline is answered, however long he waited to be seen."""
    server = fake(FakeEngine())
    line = Line(server, connect(server.target))
    behind = [line.stub.Classify.future(CALL) for _ in range(2 * congestion.LATE_CALLS)]

    line.go()

    assert all(call.result(PATIENCE_S).result.scores for call in behind)


def submit(pool: CallPool, left_s: float) -> "Future[bool]":
    """Give a pool a call as grpcio does; returns whether it is told to end."""

    def behavior() -> None:
        """Ends late calls."""

    setattr(behavior, ENDS_LATE_CALLS, True)
    event = SimpleNamespace(call_details=SimpleNamespace(deadline=time.time() + left_s))

    def serve(*_: object) -> bool:
        return pool.judge(3_600.0)  # the clock on the wall has been put back by an hour

    return pool.submit(serve, None, event, None, behavior)


def test_calls_that_a_pool_finds_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was late ends whatever the clock says since, and lets no more calls wait; many
    fill the pool until there is a pause, which begins when the last of them has ended.
    """
    pool = CallPool(1, max_waiting=10)
    monkeypatch.setattr(congestion, "PAUSE_S", 3_600.0)
    pool._may_wait = 4.0
    for number in range(congestion.LATE_CALLS):
        assert not pool.is_full
        assert submit(pool, -1.0).done(), number
        assert submit(pool, -1e-6).result(0)  # late by so little that it is not counted
    assert pool.is_full
    assert pool._may_wait == 4.0
    assert not pool._threads

    before_s = time.monotonic()
    assert submit(pool, -1.0).result(0)
    assert pool._congestion._brought_s >= before_s
    assert not submit(pool, 60.0).result(PATIENCE_S)
    monkeypatch.setattr(congestion, "PAUSE_S", 0.0)
    pool.brings()
    assert not pool.is_full
    pool.shutdown()


def test_a_pause_begins_when_a_call_has_a_thread() -> None:
    """What is submitted is over for the thread that brings calls."""
    pool = CallPool(1, max_waiting=10)
    before_s = time.monotonic()
    assert pool.submit(int).result(PATIENCE_S) == 0
    assert pool._congestion._brought_s >= before_s
    pool.shutdown()


def test_later_refusals_say_something_else(fake: Callable[..., Server], connect: Connect) -> None:
    """A refusal is told again for a moment only: the time to come back grows with the refused."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1, max_waiting_calls=1)
    stub = ClassifyServiceStub(connect(server.target))
    slow = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
    busy = [stub.Classify.future(slow, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(slow, timeout=PATIENCE_S) for _ in range(5)]
    assert eventually(lambda: server._calls.waiting == 1)
    server._calls._interval_s = 1.0  # as if it had been measured
    waits_s = []
    for _ in range(20):
        waits_s.append(refusal(lambda: stub.Classify(CALL, timeout=PATIENCE_S)).retry_after_s)
        time.sleep(SAME_REFUSAL_S)

    assert waits_s[-1] > 2 * waits_s[0]
    engine.release()
    assert all(call.result().result.scores for call in busy)


def test_what_is_not_a_call_is_not_late() -> None:
    """The pool does whatever else it is given."""
    pool = CallPool(1, max_waiting=10)
    assert pool.submit(max, 1, 2, 3, 4).result(PATIENCE_S) == 4
    pool.shutdown()
