"""Calls that the server gets to see when their time is over, and those behind them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.errors import RequestError, expired_in_queue
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.registry.registry import Entry, Registry
from classwire_server.rpc import congestion
from classwire_server.rpc import rejection as refusals
from classwire_server.rpc.call_pool import CONGESTED_RETRY_S, CallPool
from classwire_server.rpc.load_shedding import ASKS_FIRST, NEED, Haste
from classwire_server.rpc.rejection import SAME_REFUSAL_S, WireStatuses
from classwire_server.scheduling.admission import LatencyFloor
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, refusal
from tests.contract.overloads import no_time
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
    assert failure.retry_after_s >= CONGESTED_RETRY_S
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


def submit(pool: CallPool, left_s: float, least_s: float = 0.0) -> "Future[RequestError | None]":
    """Give a pool a call as grpcio does, one that asks who calls; returns how it is told to end."""

    def behavior() -> None:
        """Ends calls that have less time left than they need."""

    setattr(behavior, ASKS_FIRST, True)
    setattr(behavior, NEED, lambda left_s: LatencyFloor(least_s, no_time) if least_s else None)
    event = SimpleNamespace(call_details=SimpleNamespace(deadline=time.time() + left_s))

    def serve(*_: object) -> RequestError | None:
        return pool.judge(3_600.0, nothing)  # the clock on the wall has been put back

    return pool.submit(serve, None, event, None, behavior)


def occupy(server: Server, engine: FakeEngine, stub: ClassifyServiceStub) -> list[Any]:
    """Keep all five threads of a server busy until its engine is released."""
    slow = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
    busy = [stub.Classify.future(slow, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(slow, timeout=PATIENCE_S) for _ in range(4)]
    assert eventually(lambda: server._calls.busy == 5)
    return busy


def nothing(left_s: float) -> None:
    """What calls need that are answered at once."""


def reason(error: RequestError | None) -> str:
    """Why a call is told to end; nothing where it is to go on."""
    return "" if error is None else error.reason


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
        late = submit(pool, -1e-6)  # by so little that it is not counted
        assert reason(late.result(0)) == "EXPIRED_IN_QUEUE"
    assert pool.is_full
    assert pool._may_wait == 4.0
    assert not pool._threads

    before_s = time.monotonic()
    assert reason(submit(pool, -1.0).result(0)) == "EXPIRED_IN_QUEUE"
    assert pool._congestion._brought_s >= before_s
    assert submit(pool, 60.0).result(PATIENCE_S) is None
    monkeypatch.setattr(congestion, "PAUSE_S", 0.0)
    pool.brings()
    assert not pool.is_full
    pool.shutdown()


def test_calls_that_have_less_time_than_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end where they are brought; how many they are says nothing of the line behind them."""
    pool = CallPool(1, max_waiting=10)
    monkeypatch.setattr(congestion, "PAUSE_S", 3_600.0)
    for _ in range(2 * congestion.LATE_CALLS):
        assert not pool.is_full
        assert reason(submit(pool, 20.0, least_s=30.0).result(0)) == "OVERLOADED"
    assert not pool.is_full
    assert not pool._threads
    assert submit(pool, 60.0, least_s=30.0).result(PATIENCE_S) is None
    pool.shutdown()


def test_calls_that_have_too_little_time_when_they_begin() -> None:
    """They are refused then, and let fewer calls wait, however short their own wait was."""
    pool = CallPool(1, max_waiting=10)

    def need(left_s: float) -> LatencyFloor:
        return LatencyFloor(30.0, no_time)

    assert pool.submit(pool.judge, 60.0, need).result(PATIENCE_S) is None
    assert pool._may_wait == 10

    error = pool.submit(pool.judge, 20.0, need).result(PATIENCE_S)

    assert reason(error) == "OVERLOADED"
    assert pool._may_wait < 10
    pool.shutdown()


def test_calls_that_no_model_can_answer_in_time(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """They are refused before they have a thread, while the model is busy, and told to come back
    as the drain rate and the size of other calls' texts say, later and later; those that need no
    model are answered, and others in time.
    """
    engine = FakeEngine()
    server = fake(engine, default_timeout_s=40_000.0)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    infer: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=oip.ModelInferRequest.SerializeToString,
    )
    registry = server._registry
    dispatcher = registry.served("", "model").dispatcher
    admission = dispatcher._scheduler._admission
    admission.measured(1, seconds=60.0)
    slow = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
    assert registry.need(60.0) is None
    busy = stub.Classify.future(slow, timeout=3_600.0)
    engine.wait_for(lambda engine: bool(engine.batches))
    need = registry.need(60.0)
    assert need is not None
    assert need.least_s > 60.0
    threads = len(server._calls._threads)

    waits_s = []
    for call in (
        lambda: stub.Classify(CALL, timeout=PATIENCE_S),
        lambda: stub.BatchClassify(
            pb.BatchClassifyRequest(inputs=[pb.TextInput(text=SECRET)]), timeout=PATIENCE_S
        ),
        lambda: infer(oip.ModelInferRequest(model_name="tiny"), timeout=PATIENCE_S),
    ):
        failure = refusal(call)
        assert (failure.code, failure.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
        )
        assert failure.metadata == {"queue_tokens": "0"}
        waits_s.append(failure.retry_after_s)
        time.sleep(SAME_REFUSAL_S)
    tokens = admission.text_tokens
    assert tokens > 3
    assert waits_s == pytest.approx([60.0 * tokens * calls for calls in (1, 2, 3)], rel=0.2)
    assert len(server._calls._threads) == threads
    assert ModelServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    tokenized = stub.Tokenize(pb.TokenizeRequest(input=CALL.input), timeout=PATIENCE_S)
    assert tokenized.tokens
    behind = stub.Classify.future(CALL, timeout=36_000.0)
    assert eventually(lambda: dispatcher.waiting_texts == 1)
    engine.release()
    assert busy.result().result.scores
    assert behind.result().result.scores
    assert len(engine.texts) == 2


def test_a_call_that_comes_too_late_for_its_thread(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """Whoever had time when he was brought, and has too little when he gets a thread, is refused
    then, and is not read.
    """
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1)
    stub = ClassifyServiceStub(connect(server.target))
    busy = occupy(server, engine, stub)
    behind = stub.Classify.future(CALL, timeout=PATIENCE_S)
    assert eventually(lambda: server._calls.waiting == 1)
    dispatcher = server._registry.served("", "model").dispatcher
    dispatcher.need = lambda left_s: LatencyFloor(60.0, no_time)  # type: ignore[method-assign]
    engine.release()

    assert refusal(behind.result).reason == "OVERLOADED"
    assert all(call.result().result.scores for call in busy)
    assert all("slow" in text for text in engine.texts)


def test_what_a_call_needs(fake: Callable[..., Server]) -> None:
    """What the quickest model does, and nothing where one is idle, none is loaded, its process is
    down, or others hold its lock.
    """
    server = fake(FakeEngine())
    registry = server._registry
    dispatcher = registry.served("", "model").dispatcher
    least: list[float] = []

    def least_s(deadline_s: float) -> float:
        assert deadline_s == pytest.approx(time.monotonic() + 5, abs=1)
        return least.pop()

    dispatcher._scheduler.least_s = least_s  # type: ignore[method-assign]
    (entry,) = registry.entries()
    for name in ("other", "loading"):
        registry._entries[name] = Entry(ModelSource(name, ""), is_default=False)
    registry._entries["other"] = replace(registry._entries["other"], served=entry.served)
    try:
        least[:] = [2.0, 3.0]
        need = registry.need(5.0)
        assert need is not None
        assert need.least_s == 2.0
        least[:] = [0.0, 3.0]
        assert registry.need(5.0) is None
    finally:
        for name in ("other", "loading"):
            del registry._entries[name]
    least[:] = [3.0]
    assert registry.need(5.0) is not None
    dispatcher._engine.lose()  # type: ignore[attr-defined]
    assert registry.need(5.0) is None
    dispatcher._engine.come_back()  # type: ignore[attr-defined]
    least[:] = [3.0]
    need = registry.need(5.0)
    assert need is not None
    with dispatcher._lock:
        assert registry.need(5.0) is None
        assert (need.refuse().reason, need.refuse().retry_after_s) == ("OVERLOADED", 3.0)
    assert Registry([]).need(5.0) is None


def test_a_need_that_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the call goes on: an exception would end the thread that brings calls."""
    assert Haste.now(5.0, lambda left_s: LatencyFloor(1 / (left_s - 5.0), list)) == Haste(5.0, None)  # type: ignore[arg-type]
    assert "can't be told" in caplog.text
    assert Haste.now(0.0, lambda left_s: LatencyFloor(1 / left_s, list)) == Haste(0.0, None)  # type: ignore[arg-type]


def test_calls_whose_callers_have_gone(fake: Callable[..., Server], connect: Connect) -> None:
    """What nobody waits for any more when it has a thread is not read, and says nothing of how many
    may wait.
    """
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1, max_waiting_calls=100)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    busy = occupy(server, engine, stub)
    gone = [stub.Classify.future(CALL, timeout=PATIENCE_S) for _ in range(20)]
    assert eventually(lambda: server._calls.waiting == 20)
    server._calls._may_wait = 50.0
    for call in gone:
        call.cancel()
    for _ in range(2):
        assert health(channel) == 1  # asked behind what has been cancelled
    engine.release()

    assert all(call.result().result.scores for call in busy)
    assert eventually(lambda: not server._calls.waiting)
    assert server._calls._may_wait == 50.0
    assert all(SECRET not in text or "slow" in text for text in engine.texts)


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


def test_what_calls_hear_that_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the same reason, until a moment has passed."""
    statuses = WireStatuses()
    monkeypatch.setattr(refusals, "SAME_REFUSAL_S", 3_600.0)
    first = statuses.of(no_time())
    late = statuses.of(expired_in_queue())
    assert (first.reason, late.reason) == ("OVERLOADED", "EXPIRED_IN_QUEUE")
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert statuses.of(no_time()) is first
    assert statuses.of(expired_in_queue()) is late

    monkeypatch.setattr(refusals, "SAME_REFUSAL_S", -1.0)
    assert statuses.of(no_time()) is not first


def test_what_is_not_a_call_is_not_late() -> None:
    """The pool does whatever else it is given."""
    pool = CallPool(1, max_waiting=10)
    assert pool.submit(max, 1, 2, 3, 4).result(PATIENCE_S) == 4
    pool.shutdown()
