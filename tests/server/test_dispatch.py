"""Between callers and one engine: every future ends, and only the guilty text fails."""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import numpy as np
import pytest

from classwire_server.dispatch import Dispatcher
from classwire_server.errors import RequestError
from classwire_server.scheduling import Pending, Priority
from classwire_server.tokenization import Encoding, Text
from tests.contract.engines import LOGITS, PATIENCE_S, FakeEngine, eventually


def pending(text: str, tokens: int = 1, deadline_s: float = math.inf) -> Pending:
    """A text of so many tokens that waits for the engine."""
    encoding = Encoding([0] * tokens, [0] * tokens, 0, Text(text), None)
    return Pending(encoding, Priority.INTERACTIVE, deadline_s)


def reason(text: Pending) -> str:
    """Why a text has no answer."""
    error = text.future.exception(PATIENCE_S)
    assert isinstance(error, RequestError)
    return error.reason


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that is let go on at the end."""
    engine = FakeEngine()
    yield engine
    engine.release()


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    """A dispatcher with room for ten tokens, in batches of four."""
    dispatcher = Dispatcher(engine, batch_tokens=4, max_queue_tokens=10, name="test")
    yield dispatcher
    engine.release()
    dispatcher.close()


def occupy(dispatcher: Dispatcher, engine: FakeEngine) -> Pending:
    """Keep the engine busy until it is released."""
    slow = pending("slow")
    dispatcher.submit([slow])
    engine.wait_for(lambda engine: bool(engine.batches))
    return slow


def test_answers(dispatcher: Dispatcher) -> None:
    """A text's answer has its logits, and how it was computed."""
    text = pending("a", tokens=3)
    dispatcher.submit([text])

    answer = text.future.result(PATIENCE_S)

    assert answer.logits == pytest.approx(LOGITS)
    assert (answer.batch_texts, answer.batch_tokens) == (1, 3)
    assert answer.queue_s >= 0
    assert answer.inference_s >= 0


def test_what_waits_together_goes_together(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """What came while the engine was busy goes in batches up to the budget."""
    occupy(dispatcher, engine)
    texts = [pending(name, tokens=2) for name in "abcd"]
    dispatcher.submit(texts)
    engine.release()
    wait([text.future for text in texts], PATIENCE_S)

    assert engine.batches == [["slow"], ["a", "b"], ["c", "d"]]
    assert texts[0].future.result().batch_tokens == 4


@pytest.mark.parametrize("bad", ["boom", "boom boom"])
def test_a_failing_text_fails_alone(
    dispatcher: Dispatcher, engine: FakeEngine, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that fails is run again text by text; the log does not quote it."""
    occupy(dispatcher, engine)
    texts = [pending("a"), pending(bad), pending("b")]
    dispatcher.submit(texts)
    engine.release()

    before, failed, behind = (text.future for text in texts)
    assert isinstance(failed.exception(PATIENCE_S), ValueError)
    assert before.result(PATIENCE_S).batch_texts == 1
    assert behind.result(PATIENCE_S).logits == pytest.approx(LOGITS)
    assert engine.batches == [["slow"], ["a", bad, "b"], ["a"], [bad], ["b"]]
    assert "boom" not in caplog.text


def test_too_few_rows(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    """An engine that answers for other than the texts it was given fails them, not the thread."""
    monkeypatch.setattr(engine, "infer", lambda encodings: np.zeros((0, 5), np.float32))
    dispatcher = Dispatcher(engine, batch_tokens=4, max_queue_tokens=10, name="test")
    texts = [pending("a"), pending("b")]
    dispatcher.submit(texts)

    assert all(isinstance(text.future.exception(PATIENCE_S), RuntimeError) for text in texts)
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
    assert fits.future.result(PATIENCE_S)
    assert engine.texts == ["slow", "a", "d"]


def test_withdrawn_texts_never_run(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """What still waits is cancelled, and whoever waits for it is woken; what runs, runs on."""
    slow = occupy(dispatcher, engine)
    waiting, staying = pending("waiting"), pending("staying")
    dispatcher.submit([waiting, staying])
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(wait, [waiting.future], PATIENCE_S)

        dispatcher.withdraw([slow, waiting, pending("never submitted")])

        assert not waiter.result(PATIENCE_S).not_done
    with pytest.raises(CancelledError):
        waiting.future.result()
    engine.release()
    assert slow.future.result(PATIENCE_S)
    assert staying.future.result(PATIENCE_S)
    assert engine.texts == ["slow", "staying"]


def test_late_texts_never_run(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline has passed ends before the engine sees it."""
    occupy(dispatcher, engine)
    late, asked, staying = (
        pending("late", deadline_s=0.0),
        pending("b", deadline_s=0.0),
        pending("c"),
    )
    dispatcher.submit([asked])
    dispatcher.expire()
    assert reason(asked) == "EXPIRED_IN_QUEUE"
    dispatcher.submit([late, staying])
    engine.release()

    assert reason(late) == "EXPIRED_IN_QUEUE"
    assert staying.future.result(PATIENCE_S)
    assert engine.texts == ["slow", "c"]


def test_waiting_for_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text waits for room, and goes once there is some."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("full", tokens=10)])
    text = pending("text")
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, text, lambda: False)
        engine.release()
        submitting.result(PATIENCE_S)

    assert text.future.result(PATIENCE_S)


def test_giving_up_waiting_for_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A caller that goes away while its text waits for room frees the thread that waits."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("full", tokens=10)])
    text, gone = pending("text"), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, text, gone.is_set)
        gone.set()
        dispatcher.withdraw([])
        submitting.result(PATIENCE_S)

    assert text.future.cancelled()


def test_late_before_there_is_room(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    """A text whose deadline passes while it waits for room has expired."""
    occupy(dispatcher, engine)
    dispatcher.submit([pending("full", tokens=10)])
    late = pending("late", deadline_s=0.0)

    dispatcher.submit_when_room(late, lambda: False)

    assert reason(late) == "EXPIRED_IN_QUEUE"


def test_close_ends_every_future(engine: FakeEngine) -> None:
    """What runs is answered, what waits or comes later is DRAINING, and the engine is freed."""
    dispatcher = Dispatcher(engine, batch_tokens=4, max_queue_tokens=10, name="test")
    slow = occupy(dispatcher, engine)
    waiting, without_room, late = pending("waiting", tokens=10), pending("room"), pending("late")
    dispatcher.submit([waiting])
    with ThreadPoolExecutor(2) as pool:
        submitting = pool.submit(dispatcher.submit_when_room, without_room, lambda: False)
        closing = pool.submit(dispatcher.close)
        assert reason(waiting) == "DRAINING"
        assert not engine.closed
        engine.release()
        closing.result(PATIENCE_S)
        submitting.result(PATIENCE_S)

    assert slow.future.result(PATIENCE_S)
    assert reason(without_room) == "DRAINING"
    assert engine.closed
    with pytest.raises(RequestError) as refused:
        dispatcher.submit([late])
    assert refused.value.reason == "DRAINING"
    dispatcher.submit_when_room(late, lambda: False)
    assert reason(late) == "DRAINING"
    assert eventually(lambda: not any(t.name == "engine-test" for t in threading.enumerate()))
