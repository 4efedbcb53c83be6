"""Calls that begin late, and the calls behind them."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.errors import RequestError, expired_in_queue
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.registry.registry import Registry
from classwire_server.rpc import load_shedding, rejection
from classwire_server.rpc.call_pool import SHEDDING_MIN_RETRY_S, CallPool
from classwire_server.rpc.rejection import WireStatuses
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, refusal
from tests.contract.overloads import no_time
from tests.contract.test_health import health

Connect = Callable[[str], grpc.Channel]

CALL = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
SLOW = pb.ClassifyRequest(input=pb.TextInput(text=f"slow {SECRET}"))
SHORT_S = 0.3


def is_shedding(pool: CallPool) -> bool:
    """Whether the pool sheds calls, once the next call has come."""
    pool.admit()
    return pool.is_shedding


class Queue:
    """Holds gRPC's thread of a server, so that calls queue in front of it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self._pool = server.calls
        self._go = threading.Event()
        self._held = threading.Event()
        self.stub = ClassifyServiceStub(channel)
        self._admit, self._pool.admit = self._pool.admit, self._wait  # type: ignore[method-assign]
        self._first = self.stub.Classify.future(CALL, timeout=SHORT_S)
        assert self._held.wait(PATIENCE_S)

    def late(self, calls: int) -> None:
        """Have a number of calls wait in the queue until their deadlines have passed."""
        ended = [self.stub.Classify.future(CALL, timeout=SHORT_S) for _ in range(calls)]
        codes = [call.code() for call in (self._first, *ended)]
        assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * (calls + 1)

    def go(self) -> None:
        """Release the thread."""
        self._go.set()

    def _wait(self) -> RequestError | None:
        self._pool.admit = self._admit  # type: ignore[method-assign]
        self._held.set()
        self._go.wait(PATIENCE_S)
        return self._admit()


def test_late_calls_cost_nothing(fake: Callable[..., Server], connect: Connect) -> None:
    """The server does not read calls whose deadlines have passed when it sees them, and answers a
    call behind a few of them.
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
    """Once enough calls have begun late, the server rejects calls and streams with a retry time,
    until calls begin in time. It answers health checks meanwhile.
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
    assert failure.retry_after_s >= SHEDDING_MIN_RETRY_S
    with Conversation(channel) as stream:
        assert refusal(stream.read).reason == "OVERLOADED"
    assert health(channel) == 1
    monkeypatch.setattr(load_shedding, "PROBES", 1_000)
    assert queue.stub.Classify(CALL, timeout=PATIENCE_S).result.scores
    assert not is_shedding(server.calls)


def test_calls_without_a_deadline_are_not_late(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """The server answers a call without a deadline, however long it waited."""
    server = fake(FakeEngine())
    queue = Queue(server, connect(server.target))
    behind = [queue.stub.Classify.future(CALL) for _ in range(32)]

    queue.go()

    assert all(call.result(PATIENCE_S).result.scores for call in behind)


def occupy(server: Server, engine: FakeEngine, stub: ClassifyServiceStub) -> list[Any]:
    """Keep all five threads of a server busy until the test releases its engine."""
    busy = [stub.Classify.future(SLOW, timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: bool(engine.batches))
    busy += [stub.Classify.future(SLOW, timeout=PATIENCE_S) for _ in range(4)]
    assert eventually(lambda: server.calls.busy == 5)
    return busy


class MeasuredEngine(FakeEngine):
    """Reports that each token took a minute."""

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts, computed at once unless a text is `slow`."""
        tokens = sum(len(encoding.ids) for encoding in encodings)
        return replace(super().infer(encodings, terms), inference_s=60.0 * tokens)


def reason(error: RequestError | None) -> str:
    """The reason of a rejection; empty without one."""
    return "" if error is None else error.reason


@pytest.mark.parametrize(("left_s", "why"), [(20.0, "OVERLOADED"), (0.0, "EXPIRED_IN_QUEUE")])
def test_calls_that_have_too_little_time_when_they_begin(
    monkeypatch: pytest.MonkeyPatch, left_s: float, why: str
) -> None:
    """They get an error, and make the pool shed calls, however short their own wait was."""
    pool = CallPool(1, max_waiting=10)
    monkeypatch.setattr(load_shedding, "PROBES", 0)

    def reject_late(left_s: float) -> RequestError | None:
        return no_time() if left_s < 30.0 else None

    assert pool.submit(pool.begin, 60.0, reject_late).result(PATIENCE_S) is None
    assert not is_shedding(pool)

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
    """While the model is busy the server rejects them before it reads them. Their retry times
    follow from the drain rate and the size of other calls' texts, and grow. The server answers
    calls that need no model, and calls with enough time.
    """
    engine = MeasuredEngine()
    server = fake(engine, default_timeout_s=40_000.0)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    infer: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=oip.ModelInferRequest.SerializeToString,
    )
    dispatcher = server.registry.served("", "model").dispatcher
    with Conversation(channel) as stream:  # whose texts do not count as those of calls
        stream.read_started()
        stream.send_items(item("measured", "ok"))
        assert stream.read().results
    assert eventually(lambda: dispatcher.least_s(60.0) == 0)
    busy = stub.Classify.future(SLOW, timeout=3_600.0)
    engine.wait_for(lambda engine: len(engine.batches) == 2)
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
    tokenized = stub.Tokenize(pb.TokenizeRequest(input=SLOW.input), timeout=PATIENCE_S)
    tokens = len(tokenized.tokens)
    assert tokens > 3
    assert waits_s == pytest.approx([60.0 * tokens * calls for calls in (1, 2, 3)], rel=0.2)
    assert ModelServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    behind = stub.Classify.future(CALL, timeout=36_000.0)
    assert eventually(lambda: dispatcher.waiting_texts == 1)
    engine.release()
    assert busy.result().result.scores
    assert behind.result().result.scores
    assert len(engine.texts) == 3


def test_a_call_that_comes_too_late_for_its_thread(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """The server rejects a call that has too little time left when it gets a thread, unread."""
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
    """Those that have less time than the quickest model needs; none while no model is loaded."""
    served = fake(FakeEngine()).registry.served("", "model")
    sources = [ModelSource(name, "") for name in ("one", "other", "loading")]

    def is_rejected(*least_s: float) -> bool:
        registry = Registry(sources)
        for source, model_s in zip(sources, least_s, strict=False):
            dispatcher: Any = BusyDispatcher(model_s)
            registry.put(source, replace(served, dispatcher=dispatcher))
        return reason(registry.reject_late(5.0)) == "OVERLOADED"

    assert is_rejected(6.0, 7.0)
    assert not is_rejected(4.0, 6.0)
    assert not is_rejected(6.0, 4.0)
    assert not is_rejected(6.0, 0.0)
    assert is_rejected(6.0)
    assert not is_rejected()


class BusyDispatcher:
    """A dispatcher whose model needs `needed_s` for a text that comes now."""

    def __init__(self, needed_s: float) -> None:
        self._needed_s = needed_s

    def least_s(self, left_s: float) -> float:
        """How long a text with 5 s left takes."""
        assert left_s == 5.0
        return self._needed_s

    def reject(self) -> RequestError:
        """The error of a call with less time."""
        return no_time()


def test_no_call_is_late_for_a_model_without_a_process(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """While the model's process is down a call gets WORKER_LOST, however little time it has."""
    engine = MeasuredEngine()
    server = fake(engine, default_timeout_s=40_000.0)
    stub = ClassifyServiceStub(connect(server.target))
    assert stub.Classify(CALL, timeout=PATIENCE_S).result.scores
    busy = stub.Classify.future(SLOW, timeout=3_600.0)
    engine.wait_for(lambda engine: len(engine.batches) == 2)
    assert refusal(lambda: stub.Classify(CALL, timeout=PATIENCE_S)).reason == "OVERLOADED"

    engine.lose()

    assert refusal(lambda: stub.Classify(CALL, timeout=PATIENCE_S)).reason == "WORKER_LOST"
    engine.come_back()
    engine.release()
    assert busy.result().result.scores


def test_calls_whose_callers_have_gone(fake: Callable[..., Server], connect: Connect) -> None:
    """The server does not read a call whose caller has gone when it gets a thread."""
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
        assert health(channel) == 1  # its call comes after the cancellations
    engine.release()

    assert all(call.result().result.scores for call in busy)
    assert eventually(lambda: not server.calls.waiting)
    assert stub.Classify(SLOW, timeout=PATIENCE_S).result.scores
    assert all(SECRET not in text or "slow" in text for text in engine.texts)


def test_later_rejections_have_other_retry_times(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """The server repeats a rejection only for a moment, so that callers get growing retry times."""
    server = fake(FakeEngine())
    stub = ClassifyServiceStub(connect(server.target))
    rejections = itertools.count(1)
    server.calls.admit = lambda: RequestError(  # type: ignore[method-assign]
        Reason.OVERLOADED, "too many calls", retry_after_s=next(rejections)
    )

    def retry_after_s() -> float:
        return refusal(lambda: stub.Classify(CALL, timeout=PATIENCE_S)).retry_after_s

    first_s = retry_after_s()
    assert eventually(lambda: retry_after_s() > 2 * first_s)


def test_rejections_share_a_status_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejections with the same reason get the same status, until a moment has passed."""
    statuses = WireStatuses()
    monkeypatch.setattr(rejection, "SAME_REJECTION_S", 3_600.0)
    first = statuses.of(no_time())
    late = statuses.of(expired_in_queue())
    assert (first.reason, late.reason) == ("OVERLOADED", "EXPIRED_IN_QUEUE")
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert statuses.of(no_time()) is first
    assert statuses.of(expired_in_queue()) is late

    monkeypatch.setattr(rejection, "SAME_REJECTION_S", -1.0)
    assert statuses.of(no_time()) is not first
