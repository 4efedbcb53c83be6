"""Between callers and one engine: every text ends, and only the guilty one fails."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from classwire_server.engine import Logits
from classwire_server.errors import RequestError
from classwire_server.scheduling.dispatcher import Dispatcher
from tests.contract.engines import LOGITS, PATIENCE_S, PROFILE, FakeEngine, eventually
from tests.scheduling.submissions import answer, failure, occupy, pending, reason


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that is let go on at the end."""
    engine = FakeEngine()
    yield engine
    engine.release()


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    """A dispatcher with room for ten tokens, in batches of four."""
    dispatcher = Dispatcher(
        engine, batch_tokens=4, profile=PROFILE, max_queue_tokens=10, name="test"
    )
    yield dispatcher
    engine.release()
    dispatcher.close()


def test_answers(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text's answer has its logits, and how it was computed."""
    text = pending("a", tokens=3)
    dispatcher.submit([text])

    said = answer(text)

    assert said.logits.values[text.row] == pytest.approx(LOGITS)
    assert (said.batch_texts, said.batch_tokens) == (1, 3)
    assert said.logits.traits == engine.traits
    assert said.began_s >= text.queued_s


def test_what_waits_together_goes_together(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """What came while the engine was busy goes in batches up to the budget."""
    occupy(dispatcher, engine)
    texts = [pending(name, tokens=2) for name in "abcd"]
    dispatcher.submit(texts)
    engine.release()

    answers = [answer(text) for text in texts]

    assert engine.batches == [["slow"], ["a", "b"], ["c", "d"]]
    assert answers[0].batch_tokens == 4
    assert answers[0] is answers[1]
    assert [text.row for text in texts] == [0, 1, 0, 1]


def test_what_ends_together_wakes_its_caller_once(
    dispatcher: Dispatcher, engine: FakeEngine
) -> None:
    """Texts with one inbox that were in one batch come in one list, without those of others."""
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
    """A batch that fails is run again in parts; the log does not quote it."""
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
    """An engine that answers for other than the texts it was given fails them, not the thread."""
    nothing = Logits(np.zeros((0, 5), np.float32), engine.traits, 0.0, 0.0)
    monkeypatch.setattr(engine, "infer", lambda *_: nothing)
    dispatcher = Dispatcher(
        engine, batch_tokens=4, profile=PROFILE, max_queue_tokens=10, name="test"
    )
    texts = [pending("a"), pending("b")]
    dispatcher.submit(texts)

    assert all(isinstance(failure(text), RuntimeError) for text in texts)
    dispatcher.close()


def test_all_or_none(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """Texts that do not all fit are refused together, with a time to come back."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("a", tokens=6)])

    with pytest.raises(RequestError) as refused:
        dispatcher.submit([pending("b", tokens=1), pending("c", tokens=4)])

    assert refused.value.reason == "OVERLOADED"
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0
    fits = pending("d", tokens=4)
    dispatcher.submit([fits])
    engine.release()
    assert answer(fits)
    assert engine.texts == ["slow", "a", "d"]


def test_withdrawn_texts_never_run(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """All are cancelled, and whoever waits for them is woken; what runs, runs on without them."""
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
    """A text whose deadline has passed ends before the engine sees it."""
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
    """Texts wait for room; each goes as soon as there is some for it, in their order."""
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
    """A caller that goes away while its text waits for room frees the thread that waits."""
    occupy(dispatcher, engine)
    dispatcher.submit_when_room([pending("full", tokens=10, flow="stream")], lambda: False)
    text, gone = pending("text", flow="stream"), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, [text], gone.is_set)
        gone.set()
        dispatcher.withdraw([])
        submitting.result(PATIENCE_S)

    assert isinstance(failure(text), CancelledError)


def test_late_before_there_is_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline passes while it waits for room has expired."""
    occupy(dispatcher, engine)
    dispatcher.submit_when_room([pending("full", tokens=10, flow="stream")], lambda: False)
    late = pending("late", deadline_s=0.0, flow="stream")

    dispatcher.submit_when_room([late], lambda: False)

    assert reason(late) == "EXPIRED_IN_QUEUE"


def test_close_ends_every_text(engine: FakeEngine) -> None:
    """What runs is answered, what waits or comes later is DRAINING, and the engine is freed."""
    dispatcher = Dispatcher(
        engine, batch_tokens=4, profile=PROFILE, max_queue_tokens=10, name="test"
    )
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
    with pytest.raises(RequestError) as refused:
        dispatcher.submit([late])
    assert refused.value.reason == "DRAINING"
    dispatcher.submit_when_room([late], lambda: False)
    assert reason(late) == "DRAINING"
    names = {thread.name for thread in threading.enumerate()}
    assert names.isdisjoint({"engine-test-0", "engine-test-1", "urgent-test", "expiry-test"})
