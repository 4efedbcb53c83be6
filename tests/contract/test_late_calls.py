"""Calls that begin late, and those behind them."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.errors import RequestError, expired_in_queue
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.registry.registry import Entry, Registry
from classwire_server.rpc import load_shedding
from classwire_server.rpc import rejection as refusals
from classwire_server.rpc.call_pool import SHEDDING_RETRY_S, CallPool
from classwire_server.rpc.rejection import SAME_REFUSAL_S, WireStatuses
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, refusal
from tests.contract.overloads import no_time
from tests.contract.test_health import health

Connect = Callable[[str], grpc.Channel]

CALL = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
SLOW = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
SHORT_S = 0.3


def is_shedding(pool: CallPool) -> bool:
    """Whether the next call is rejected for those that were late before it."""
    pool.admit()
    return pool.is_shedding


class Queue:
    """A server whose thread for new calls stands still, with a queue of calls before it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self._pool = server.calls
        self._go = threading.Event()
        self._stands_still = threading.Event()
        self.stub = ClassifyServiceStub(channel)
        self._admit, self._pool.admit = self._pool.admit, self._wait  # type: ignore[method-assign]
        self._first = self.stub.Classify.future(CALL, timeout=SHORT_S)
        assert self._stands_still.wait(PATIENCE_S)

    def late(self, calls: int) -> None:
        """Have so many calls wait in it until their time is over."""
        ended = [self.stub.Classify.future(CALL, timeout=SHORT_S) for _ in range(calls)]
        codes = [call.code() for call in (self._first, *ended)]
        assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * (calls + 1)

    def go(self) -> None:
        """Let the thread go on."""
        self._go.set()

    def _wait(self) -> RequestError | None:
        self._pool.admit = self._admit  # type: ignore[method-assign]
        self._stands_still.set()
        self._go.wait(PATIENCE_S)
        return self._admit()


def test_late_calls_cost_nothing(fake: Callable[..., Server], connect: Connect) -> None:
    """A call whose time is over when the server sees it is not read; one behind a few of them is
    answered.
    """
    engine = FakeEngine()
    server = fake(engine)
    queue = Queue(server, connect(server.target))
    queue.late(20)
    behind = queue.stub.Classify.future(CALL, timeout=PATIENCE_S)

    queue.go()

    assert behind.result().result.scores
    assert sum(map(len, engine.batches)) == 1
    assert eventually(lambda: not server.gate.in_flight)


def test_calls_behind_many_late_ones(
    fake: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once enough calls have begun late, others are told to come back, streams too, while health
    answers; those that are admitted show when it is over.
    """
    server = fake(FakeEngine())
    channel = connect(server.target)
    queue = Queue(server, channel)
    queue.late(20)
    monkeypatch.setattr(load_shedding, "PROBES", 0)  # one late call is enough
    queue.go()
    assert eventually(lambda: not server.calls.busy and is_shedding(server.calls))

    failure = refusal(lambda: queue.stub.Classify(CALL, timeout=PATIENCE_S))

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert failure.metadata == {"waiting_calls": "0"}
    assert failure.retry_after_s >= SHEDDING_RETRY_S
    with Conversation(channel) as stream:
        assert refusal(stream.read).reason == "OVERLOADED"
    assert health(channel) == 1
    monkeypatch.setattr(load_shedding, "PROBES", 1_000)
    assert queue.stub.Classify(CALL, timeout=PATIENCE_S).result.scores
    assert not is_shedding(server.calls)


def test_calls_without_a_deadline_are_not_late(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """A caller who sets no deadline is answered, however long its call waited."""
    server = fake(FakeEngine())
    queue = Queue(server, connect(server.target))
    behind = [queue.stub.Classify.future(CALL) for _ in range(32)]

    queue.go()

    assert all(call.result(PATIENCE_S).result.scores for call in behind)


def occupy(server: Server, engine: FakeEngine, stub: ClassifyServiceStub) -> list[Any]:
    """Keep all five threads of a server busy until its engine is released."""
    busy = [stub.Classify.future(SLOW, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(SLOW, timeout=PATIENCE_S) for _ in range(4)]
    assert eventually(lambda: server.calls.busy == 5)
    return busy


def reason(error: RequestError | None) -> str:
    """Why a call is told to end; nothing where it is to go on."""
    return "" if error is None else error.reason


def test_calls_that_have_too_little_time_when_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end then, and let the pool shed calls, however short their own wait was."""
    pool = CallPool(1, max_waiting=10)
    monkeypatch.setattr(load_shedding, "PROBES", 0)

    def reject_late(left_s: float) -> RequestError | None:
        return no_time() if left_s < 30.0 else None

    assert pool.submit(pool.begin, 60.0, reject_late).result(PATIENCE_S) is None
    assert not is_shedding(pool)

    for left_s, why in ((20.0, "OVERLOADED"), (0.0, "EXPIRED_IN_QUEUE")):
        for _ in range(2 * load_shedding.IN_PROPORTION):
            error = pool.submit(pool.begin, left_s, reject_late).result(PATIENCE_S)
            assert reason(error) == why
        assert is_shedding(pool)
        for _ in range(2 * load_shedding.IN_PROPORTION):
            assert pool.submit(pool.begin, 60.0, reject_late).result(PATIENCE_S) is None
        assert not is_shedding(pool)
    pool.shutdown()


def test_calls_that_no_model_can_answer_in_time(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """While the model is busy they are rejected and not read, and told to come back as the drain
    rate and the size of other calls' texts say, later and later. Calls that need no model are
    answered, and calls with enough time.
    """
    engine = FakeEngine()
    server = fake(engine, default_timeout_s=40_000.0)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    infer: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=oip.ModelInferRequest.SerializeToString,
    )
    registry = server.registry
    dispatcher = registry.served("", "model").dispatcher
    admission = dispatcher._scheduler._admission
    admission.measured(1, seconds=60.0)
    slow = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
    assert dispatcher.least_s(60.0) == 0
    busy = stub.Classify.future(slow, timeout=3_600.0)
    engine.wait_for(lambda engine: bool(engine.batches))
    assert dispatcher.least_s(60.0) > 60.0

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
    tokens = admission.text_tokens
    assert tokens > 3
    assert waits_s == pytest.approx([60.0 * tokens * calls for calls in (1, 2, 3)], rel=0.2)
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
    """A call that has too little time left when it gets a thread is rejected and not read."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1)
    stub = ClassifyServiceStub(connect(server.target))
    busy = occupy(server, engine, stub)
    behind = stub.Classify.future(CALL, timeout=PATIENCE_S)
    assert eventually(lambda: server.calls.waiting == 1)
    dispatcher = server.registry.served("", "model").dispatcher
    dispatcher.least_s = lambda left_s: 60.0  # type: ignore[method-assign]
    dispatcher.reject = no_time  # type: ignore[method-assign]
    engine.release()

    assert refusal(behind.result).reason == "OVERLOADED"
    assert all(call.result().result.scores for call in busy)
    assert all("slow" in text for text in engine.texts)


def test_which_calls_have_too_little_time(fake: Callable[..., Server]) -> None:
    """Those that have less than the quickest model needs; none where one is idle, none is loaded,
    or its process is down.
    """
    server = fake(FakeEngine())
    registry = server.registry
    dispatcher = registry.served("", "model").dispatcher
    least: list[float] = []

    def least_s(deadline_s: float) -> float:
        assert deadline_s == pytest.approx(time.monotonic() + 5, abs=1)
        return least.pop()

    def is_refused(*its_least_s: float) -> bool:
        least[:] = its_least_s
        return reason(registry.reject_late(5.0)) == "OVERLOADED"

    dispatcher._scheduler.least_s = least_s  # type: ignore[method-assign]
    (entry,) = registry.entries()
    for name in ("other", "loading"):
        registry._entries[name] = Entry(ModelSource(name, ""), is_default=False)
    registry._entries["other"] = replace(registry._entries["other"], served=entry.served)
    try:
        assert is_refused(6.0, 7.0)
        assert not is_refused(4.0, 6.0)
        assert not is_refused(6.0, 4.0)
        assert not is_refused(6.0, 0.0)
    finally:
        for name in ("other", "loading"):
            del registry._entries[name]
    assert is_refused(6.0)
    dispatcher._engine.lose()  # type: ignore[attr-defined]
    assert not is_refused(6.0)
    dispatcher._engine.come_back()  # type: ignore[attr-defined]
    assert Registry([]).reject_late(5.0) is None


def test_calls_whose_callers_have_gone(fake: Callable[..., Server], connect: Connect) -> None:
    """A call whose caller has gone when it gets a thread is not read; others are answered."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1, max_waiting_calls=100)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    busy = occupy(server, engine, stub)
    gone = [stub.Classify.future(CALL, timeout=PATIENCE_S) for _ in range(20)]
    assert eventually(lambda: server.calls.waiting == 20)
    for call in gone:
        call.cancel()
    for _ in range(2):
        assert health(channel) == 1  # asked behind what has been cancelled
    engine.release()

    assert all(call.result().result.scores for call in busy)
    assert eventually(lambda: not server.calls.waiting)
    assert stub.Classify(SLOW, timeout=PATIENCE_S).result.scores
    assert all(SECRET not in text or "slow" in text for text in engine.texts)


def test_later_refusals_say_something_else(fake: Callable[..., Server], connect: Connect) -> None:
    """A refusal is told again for a moment only: the time to come back grows with the refused."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=5, max_streams=1, max_waiting_calls=1)
    stub = ClassifyServiceStub(connect(server.target))
    slow = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
    busy = [stub.Classify.future(slow, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(slow, timeout=PATIENCE_S) for _ in range(5)]
    assert eventually(lambda: server.calls.waiting == 1)
    server.calls._interval_s = 1.0  # as if it had been measured
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
