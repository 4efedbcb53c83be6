"""The dispatcher with lost workers, shared texts, and many callers at once."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace

import pytest

from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.errors import NoWorker, RequestError, TooLate, WorkerLost
from classwire_server.scheduling import dispatcher as dispatch
from classwire_server.scheduling.batch import Pending, Priority
from classwire_server.scheduling.dispatcher import Dispatcher
from classwire_server.scheduling.scheduler import Bounds
from classwire_server.tokenization import Encoding
from tests.contract.engines import PATIENCE_S, PROFILE, FakeEngine, eventually
from tests.scheduling.submissions import again, answer, failure, occupy, pending, reason

BULK = Priority.BULK
NEVER: Callable[[], bool] = bool


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that the fixture releases at the end."""
    engine = FakeEngine()
    yield engine
    engine.release()


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    """A dispatcher with room for a hundred tokens, in batches of four, with a cache."""
    dispatcher = Dispatcher(
        engine,
        batch_tokens=4,
        profile=PROFILE,
        bounds=Bounds(100, 10_000),
        name="test",
    )
    yield dispatcher
    engine.release()
    dispatcher.close()


def test_no_worker(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Without a worker the dispatcher rejects calls, queues streams and begins nothing. Both are
    answered once a worker is up.
    """
    engine.lose()
    dispatcher.wake()
    streamed, call = pending("streamed", flow="stream"), pending("call")
    dispatcher.submit_when_room([streamed], NEVER)
    with pytest.raises(RequestError) as rejected:
        dispatcher.submit([call])
    assert rejected.value.reason == "WORKER_LOST"
    assert (streamed.ended, engine.batches) == (False, [])

    engine.come_back()
    dispatcher.wake()

    assert answer(streamed)
    dispatcher.submit([call])
    assert answer(call)


def test_a_worker_is_lost_before_the_batch_begins(
    dispatcher: Dispatcher, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of a batch whose worker is down before it begins go to the next worker."""
    infer, tried = engine.infer, threading.Event()

    def gone(encodings: Sequence[Encoding], terms: Terms) -> Logits:
        monkeypatch.setattr(engine, "infer", infer)
        engine.lose()
        tried.set()
        raise NoWorker

    monkeypatch.setattr(engine, "infer", gone)
    texts = [pending("a"), pending("b")]
    dispatcher.submit(texts)
    assert tried.wait(PATIENCE_S)
    assert eventually(lambda: dispatcher.waiting_texts == 2)
    engine.come_back()
    dispatcher.wake()

    assert all(answer(text) and not text.is_suspect for text in texts)
    assert engine.batches == [["a", "b"]]


def test_a_deadline_passes_while_the_batch_waits_for_its_lane(
    dispatcher: Dispatcher, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a deadline passes while a batch waits for its lane, the batch runs without that text. A
    shared text has the latest deadline of its callers.
    """
    infer, terms_of = engine.infer, list[Terms]()

    def ready(encodings: Sequence[Encoding], terms: Terms) -> Logits:
        terms_of.append(terms)
        time.sleep(max(0.0, terms.begin_by_s - time.monotonic()))
        monkeypatch.setattr(engine, "infer", infer)
        raise TooLate

    occupy(dispatcher, engine)
    soon_s, later_s = time.monotonic() + PATIENCE_S / 100, time.monotonic() + PATIENCE_S
    late, shared = pending("late", deadline_s=soon_s), pending("shared", deadline_s=later_s)
    same = replace(again(shared), deadline_s=soon_s - 0.01)
    for text in (shared, same, late):
        dispatcher.submit_when_room([text], NEVER)
    monkeypatch.setattr(engine, "infer", ready)
    engine.release()

    assert reason(late) == "EXPIRED_IN_QUEUE"
    assert reason(same) == "EXPIRED_IN_QUEUE"
    assert answer(shared)
    assert [terms.begin_by_s for terms in terms_of] == [soon_s]
    assert engine.batches == [["slow"], ["shared"]]


def test_poison(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """After the worker ended, each text of its batch runs again, alone. The text that ends the
    worker twice more is poison; the others are answered. Its last trial needs a settled worker.
    """
    occupy(dispatcher, engine)
    deadly = pending("deadly")
    texts = [pending("a"), deadly, pending("b")]
    dispatcher.submit(texts)
    engine.release()

    assert reason(deadly) == "POISON_INPUT"
    assert answer(texts[0])
    assert answer(texts[2])
    same = again(deadly)
    dispatcher.submit([same])
    assert reason(same) == "POISON_INPUT"
    alone = [["a"], ["deadly"], ["b"], ["deadly"]]
    assert engine.batches == [["slow"], ["a", "deadly", "b"], *alone]
    assert engine.settled == [False] * 5 + [True]
    assert dispatcher.poison_inputs().count == 1
    assert dispatcher.clear_poison() == 1
    assert dispatcher.poison_inputs().count == 0


def test_close_convicts_nobody(
    dispatcher: Dispatcher, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last trial of a text whose worker `close` ends was not lost through the text."""
    tried, closed = threading.Semaphore(0), threading.Event()

    def lose(encodings: Sequence[Encoding], terms: Terms) -> Logits:
        tried.release()
        assert not terms.settled or closed.wait(PATIENCE_S)
        raise WorkerLost(is_alone=True)

    monkeypatch.setattr(dispatch, "CLOSE_PATIENCE_S", 0.1)
    monkeypatch.setattr(engine, "infer", lose)
    monkeypatch.setattr(engine, "close", closed.set)
    text = pending("text")
    dispatcher.submit([text])
    assert all(tried.acquire(timeout=PATIENCE_S) for _ in range(2))
    dispatcher.close()
    assert reason(text) == "DRAINING"


def test_no_time_to_run_again(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline passes while no worker is up ends as WORKER_LOST."""
    occupy(dispatcher, engine)
    deadly = pending("deadly", deadline_s=time.monotonic() + PATIENCE_S / 100)
    dispatcher.submit([deadly])
    infer = engine.infer

    def lose(encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        try:
            return infer(encodings, terms)
        except WorkerLost:
            engine.lose()
            raise

    engine.infer = lose  # type: ignore[method-assign]
    engine.release()

    assert reason(deadly) == "WORKER_LOST"
    assert engine.texts == ["slow", "deadly"]


def test_interactive_work_preempts_bulk(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A call does not wait for the bulk batch in flight, which it preempts."""
    slow = pending("slow", priority=BULK)
    dispatcher.submit([slow])
    engine.wait_for(lambda engine: bool(engine.batches))
    call, bulk = pending("call"), pending("bulk", tokens=4, priority=BULK)
    dispatcher.submit([bulk])
    dispatcher.submit([call])

    assert answer(call)
    assert (slow.ended, bulk.ended) == (False, False)
    engine.release()
    assert answer(bulk)
    assert list(zip(engine.texts, engine.urgent, engine.yielding, strict=True)) == [
        ("slow", False, True),
        ("call", True, False),
        ("bulk", False, True),
    ]


def test_callers_share_one_computation(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Callers of the same text share one computation: queued, in flight, and cached. A caller that
    withdraws does not end it for the others.
    """
    slow = occupy(dispatcher, engine)
    first = pending("first")
    joined, gone, waited = again(slow), again(first), again(first)
    dispatcher.submit([first])
    dispatcher.submit([joined, gone, waited])
    dispatcher.withdraw([gone])
    dispatcher.withdraw([first])
    engine.release()

    assert answer(joined) is answer(slow)
    assert answer(waited)
    assert isinstance(failure(gone), CancelledError)
    assert isinstance(failure(first), CancelledError)
    later = again(first)
    dispatcher.submit([later])
    assert answer(later)
    assert (slow.cached, joined.cached, later.cached) == (False, True, True)
    assert engine.batches == [["slow"], ["first"]]


def test_close_while_there_is_no_worker(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Without a worker, close ends queued texts as DRAINING."""
    engine.lose()
    text = pending("text", flow="stream")
    dispatcher.submit_when_room([text], NEVER)
    dispatcher.close()
    assert reason(text) == "DRAINING"


def test_many_at_once(engine: FakeEngine) -> None:
    """With concurrent callers and a worker that comes and goes, each text ends once."""
    engine.lanes = 2
    dispatcher = Dispatcher(
        engine, batch_tokens=8, profile=PROFILE, bounds=Bounds(200), name="test"
    )
    words = ("text", "text", "text", "boom", "deadly")

    def call(number: int) -> list[Pending]:
        random_ = random.Random(number)
        submitted = []
        for _ in range(150):
            now_s = time.monotonic()
            text = pending(
                random_.choice(words),
                random_.randint(1, 4),
                now_s + random_.uniform(0.001, 0.02) if random_.random() < 0.5 else now_s + 600,
                random_.choice(list(Priority)),
                random_.choice((None, f"stream {number}")),
            )
            try:
                if text.flow is None:
                    dispatcher.submit([text])
                else:
                    dispatcher.submit_when_room([text], NEVER)
            except RequestError:
                continue
            submitted.append(text)
            if random_.random() < 1 / 3:
                dispatcher.withdraw([text])
        return submitted

    def flap() -> None:
        while not over.wait(0.001):
            engine.lose()
            dispatcher.wake()
            engine.come_back()
            dispatcher.wake()

    over = threading.Event()
    with ThreadPoolExecutor(7) as pool:
        flapping = pool.submit(flap)
        submitted = [text for texts in pool.map(call, range(6)) for text in texts]
        assert eventually(lambda: all(text.ended for text in submitted))
        over.set()
        flapping.result(PATIENCE_S)
    dispatcher.close()

    told = [text for each in submitted for text in each.inbox.get_nowait()]
    assert dispatcher.waiting_texts == 0
    assert len(told) == len(set(told))
    assert all(text.inbox.empty() for text in submitted)
