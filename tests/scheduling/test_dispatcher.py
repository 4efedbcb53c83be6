"""The dispatcher: every text ends, and a bad text fails alone."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from classwire_server.engine import Logits
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Pending
from classwire_server.scheduling.dispatcher import Dispatcher
from classwire_server.scheduling.scheduler import Bounds
from tests.contract.engines import LOGITS, PATIENCE_S, PROFILE, FakeEngine, eventually
from tests.scheduling.submissions import answer, failure, occupy, pending, reason


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that the fixture releases at the end."""
    engine = FakeEngine()
    yield engine
    engine.release()


def pending_now(dispatcher: Dispatcher, deadline_s: float) -> Pending:
    """A text that has just been submitted."""
    text = pending("text", deadline_s=deadline_s)
    dispatcher.submit([text])
    return text


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    """A dispatcher with room for ten tokens, in batches of four."""
    dispatcher = Dispatcher(engine, batch_tokens=4, profile=PROFILE, bounds=Bounds(10), name="test")
    yield dispatcher
    engine.release()
    dispatcher.close()


def test_answers(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text's answer has its logits, and how it was computed."""
    text = pending("a", tokens=3)
    dispatcher.submit([text])

    its_answer = answer(text)

    assert its_answer.logits.values[text.row] == pytest.approx(LOGITS)
    assert (its_answer.batch_texts, its_answer.batch_tokens) == (1, 3)
    assert its_answer.logits.traits == engine.traits
    assert its_answer.began_s >= text.queued_s


def test_queued_texts_share_batches(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Texts queued while the engine was busy go in batches up to the budget."""
    occupy(dispatcher, engine)
    texts = [pending(name, tokens=2) for name in "abcd"]
    dispatcher.submit(texts)
    engine.release()

    answers = [answer(text) for text in texts]

    assert engine.batches == [["slow"], ["a", "b"], ["c", "d"]]
    assert answers[0].batch_tokens == 4
    assert answers[0] is answers[1]
    assert [text.row for text in texts] == [0, 1, 0, 1]


def test_texts_that_end_together_arrive_together(
    dispatcher: Dispatcher, engine: FakeEngine
) -> None:
    """Texts with one inbox that end together arrive in one list, without those of other inboxes."""
    occupy(dispatcher, engine)
    texts = [pending(name) for name in "abc"]
    texts[2].inbox = texts[0].inbox
    dispatcher.submit(texts)
    engine.release()

    assert texts[0].inbox.get(timeout=PATIENCE_S) == [texts[0], texts[2]]
    assert texts[1].inbox.get(timeout=PATIENCE_S) == [texts[1]]


@pytest.mark.parametrize("bad", ["boom", "boom boom"])
def test_a_failing_text_fails_alone(
    dispatcher: Dispatcher, engine: FakeEngine, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The dispatcher runs a batch that fails again in parts, and logs no text."""
    occupy(dispatcher, engine)
    texts = [pending("a"), pending(bad), pending("b")]
    dispatcher.submit(texts)
    engine.release()

    before, failed, behind = texts
    assert isinstance(failure(failed), ValueError)
    assert answer(before).batch_texts == 1
    assert answer(behind).logits.values[behind.row] == pytest.approx(LOGITS)
    assert engine.batches == [["slow"], ["a", bad, "b"], ["a"], [bad, "b"], [bad], ["b"]]
    assert "boom" not in caplog.text


def test_too_few_rows(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    """Too few rows of logits fail the texts, not the thread."""
    nothing = Logits(np.zeros((0, 5), np.float32), engine.traits, 0.0, 0.0)
    monkeypatch.setattr(engine, "infer", lambda *_: nothing)
    dispatcher = Dispatcher(engine, batch_tokens=4, profile=PROFILE, bounds=Bounds(10), name="test")
    texts = [pending("a"), pending("b")]
    dispatcher.submit(texts)

    assert all(isinstance(failure(text), RuntimeError) for text in texts)
    dispatcher.close()


def test_a_deadline_later_than_one_that_was_met_ends_its_text(
    dispatcher: Dispatcher, engine: FakeEngine
) -> None:
    """A queued text ends at its deadline, also after an earlier text left before its own."""
    now_s = time.monotonic()
    first = pending_now(dispatcher, deadline_s=now_s + 0.2)
    failure(first)  # ended, usually by its answer
    dispatcher.submit([pending("slow")])
    engine.wait_for(lambda engine: ["slow"] in engine.batches)

    late = pending_now(dispatcher, deadline_s=now_s + 0.4)

    assert reason(late) == "EXPIRED_IN_QUEUE"


def test_calls_that_are_answered_wake_no_thread_for_their_deadlines(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that watches deadlines is woken for the first of them, and not for each call."""
    watched: set[threading.Condition] = set()
    woken: Counter[threading.Condition] = Counter()

    class Counted(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            if threading.current_thread().name == "expiry-test":
                watched.add(self)
            return super().wait(timeout)

        def notify(self, n: int = 1) -> None:
            woken[self] += 1
            super().notify(n)

    monkeypatch.setattr(threading, "Condition", Counted)
    dispatcher = Dispatcher(engine, batch_tokens=4, profile=PROFILE, bounds=Bounds(10), name="test")
    end_s = time.monotonic() + 1_000
    for place in range(10):
        assert answer(pending_now(dispatcher, deadline_s=end_s + place))
    assert eventually(lambda: bool(watched))
    assert [woken[condition] for condition in watched] == [1]
    dispatcher.close()


def test_all_or_none(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Texts that do not all fit are rejected together, with a retry delay."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("a", tokens=6)])

    with pytest.raises(RequestError) as rejected:
        dispatcher.submit([pending("b", tokens=1), pending("c", tokens=4)])

    assert rejected.value.reason == "OVERLOADED"
    assert rejected.value.retry_after_s is not None
    assert rejected.value.retry_after_s > 0
    fits = pending("d", tokens=4)
    dispatcher.submit([fits])
    engine.release()
    assert answer(fits)
    assert engine.texts == ["slow", "a", "d"]


def test_withdrawn_texts_never_run(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Withdrawn texts are cancelled and their callers wake; a batch in flight finishes."""
    slow = occupy(dispatcher, engine)
    waiting, staying = pending("waiting"), pending("staying")
    dispatcher.submit([waiting, staying])

    dispatcher.withdraw([slow, waiting, pending("never submitted")])

    assert isinstance(failure(waiting), CancelledError)
    assert isinstance(failure(slow), CancelledError)
    engine.release()
    assert answer(staying)
    assert engine.texts == ["slow", "staying"]


def test_late_texts_never_run(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline has passed ends before it reaches the engine."""
    occupy(dispatcher, engine)
    late, staying = pending("late", deadline_s=time.monotonic() + 0.05), pending("staying")
    dispatcher.submit([staying, late])

    assert reason(late) == "EXPIRED_IN_QUEUE"  # while the engine is still busy
    late = pending("late", deadline_s=0.0)
    dispatcher.submit([late])
    engine.release()

    assert reason(late) == "EXPIRED_IN_QUEUE"
    assert answer(staying)
    assert engine.texts == ["slow", "staying"]


def test_waiting_for_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Texts of a stream enter the queue in order, each as soon as there is room."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("nearly full", tokens=8)])
    texts = [pending(*text, flow="stream") for text in (("a", 2), ("b", 3), ("c", 1))]
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, texts, lambda: False)
        assert eventually(lambda: texts[0].queued_s > 0)
        assert not submitting.done()
        engine.release()
        submitting.result(PATIENCE_S)

    assert all(answer(text) for text in texts)
    assert engine.texts == ["slow", "nearly full", "a", "b", "c"]


def test_giving_up_waiting_for_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Withdrawing wakes a thread whose caller has gone while its text waits for room."""
    occupy(dispatcher, engine)
    dispatcher.submit_when_room([pending("full", tokens=10, flow="stream")], lambda: False)
    text, gone = pending("text", flow="stream"), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, [text], gone.is_set)
        gone.set()
        dispatcher.withdraw([])
        submitting.result(PATIENCE_S)

    assert isinstance(failure(text), CancelledError)


def test_withdrawing_before_there_is_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text that is withdrawn while it waits for room is never computed; those behind it are."""
    occupy(dispatcher, engine)
    dispatcher.submit_when_room([pending("full", tokens=5, flow="stream")], lambda: False)
    gone, behind = pending("gone", flow="stream"), pending("behind", flow="stream")
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, [gone, behind], lambda: False)
        dispatcher.withdraw([gone])
        engine.release()
        submitting.result(PATIENCE_S)

    assert isinstance(failure(gone), CancelledError)
    assert answer(behind)
    assert engine.texts == ["slow", "full", "behind"]


def test_late_before_there_is_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline passes while it waits for room expires."""
    occupy(dispatcher, engine)
    dispatcher.submit_when_room([pending("full", tokens=10, flow="stream")], lambda: False)
    late = pending("late", deadline_s=0.0, flow="stream")

    dispatcher.submit_when_room([late], lambda: False)

    assert reason(late) == "EXPIRED_IN_QUEUE"


def test_close_ends_every_text(engine: FakeEngine) -> None:
    """On close, texts in flight are answered, queued and later ones are DRAINING, and the engine
    closes.
    """
    dispatcher = Dispatcher(engine, batch_tokens=4, profile=PROFILE, bounds=Bounds(10), name="test")
    slow = occupy(dispatcher, engine)
    waiting, without_room, late = pending("waiting", tokens=10), pending("room"), pending("late")
    dispatcher.submit([waiting])
    with ThreadPoolExecutor(2) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, [without_room], lambda: False)
        closing = pool.submit(dispatcher.close)
        assert reason(waiting) == "DRAINING"
        assert not engine.closed
        engine.release()
        closing.result(PATIENCE_S)
        submitting.result(PATIENCE_S)

    assert answer(slow)
    assert reason(without_room) == "DRAINING"
    assert engine.closed
    with pytest.raises(RequestError) as rejected:
        dispatcher.submit([late])
    assert rejected.value.reason == "DRAINING"
    dispatcher.submit_when_room([late], lambda: False)
    assert reason(late) == "DRAINING"
    names = {thread.name for thread in threading.enumerate()}
    assert names.isdisjoint({"engine-test-0", "engine-test-1", "urgent-test", "expiry-test"})
