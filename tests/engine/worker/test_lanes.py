"""Several lanes, and the extra batch that waits inside the engine for one."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.engine.worker.lanes import Lanes as Links
from classwire_server.errors import RequestError
from classwire_server.scheduling.dispatcher import Dispatcher
from classwire_server.scheduling.scheduler import Bounds
from classwire_server.tokenization import Encoding
from tests.contract.engines import PROFILE, FakeEngine
from tests.scheduling.submissions import answer, pending, reason


class Lanes(FakeEngine):
    """A FakeEngine with several lanes that reports `inference_s` for each batch."""

    def __init__(self, lanes: int, inference_s: float) -> None:
        super().__init__()
        self.lanes = lanes
        self._inference_s = inference_s

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        return replace(super().infer(encodings, terms), inference_s=self._inference_s)


def busy_lane(inference_s: float, batch_tokens: int) -> tuple[Lanes, Dispatcher]:
    """An engine whose only lane is busy with four tokens, after a batch that took inference_s."""
    engine = Lanes(1, inference_s)
    dispatcher = Dispatcher(
        engine, batch_tokens=batch_tokens, profile=PROFILE, bounds=Bounds(100), name="test"
    )
    first = pending("first", tokens=4)
    dispatcher.submit([first])
    assert answer(first)
    dispatcher.submit([pending("slow", tokens=4)])
    engine.wait_for(lambda engine: "slow" in engine.texts)
    return engine, dispatcher


@pytest.mark.parametrize("texts", [2, 5])
def test_work_is_shared_among_idle_lanes(texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts in the queue are divided between two free lanes, which run at the same time."""
    monkeypatch.setattr("classwire_server.scheduling.batch_sizing.SHARE_TOKENS", 1)
    engine = Lanes(2, 1.0)
    dispatcher = Dispatcher(
        engine, batch_tokens=100, profile=PROFILE, bounds=Bounds(100), name="test"
    )
    dispatcher.submit([pending("slow") for _ in range(texts)])

    engine.wait_for(lambda engine: len(engine.batches) == 2)

    assert sorted(map(len, engine.batches)) == [texts // 2, texts - texts // 2]
    engine.release()
    dispatcher.close()


def test_little_work_is_not_shared() -> None:
    """Few tokens form one batch: half of them would take a lane as long."""
    engine = Lanes(2, 1.0)
    dispatcher = Dispatcher(
        engine, batch_tokens=100, profile=PROFILE, bounds=Bounds(100), name="test"
    )
    texts = [pending(name) for name in "ab"]
    dispatcher.submit(texts)

    assert answer(texts[0]) is answer(texts[1])
    dispatcher.close()


@pytest.mark.parametrize(("inference_s", "batches"), [(0.01, 3), (1.0, 2)])
def test_a_batch_is_sent_ahead_if_it_starts_soon(inference_s: float, batches: int) -> None:
    """While a lane is busy the dispatcher sends one more batch, unless that would wait for long."""
    engine, dispatcher = busy_lane(inference_s, batch_tokens=4)
    for _ in range(2):
        dispatcher.submit([pending("slow behind", tokens=4)])
    engine.wait_for(lambda engine: len(engine.batches) >= batches)
    probe = pending("late", tokens=4, deadline_s=time.monotonic() + 0.05, flow="stream")
    dispatcher.submit_when_room([probe], lambda: False)
    assert reason(probe) == "EXPIRED_IN_QUEUE"  # time enough to have sent too much

    assert len(engine.batches) == batches
    engine.release()
    dispatcher.close()


def test_little_is_not_sent_ahead() -> None:
    """A batch smaller than the running one stays in the queue and grows until the lane is free."""
    engine, dispatcher = busy_lane(0.01, batch_tokens=9)
    few, more = pending("a", tokens=3), pending("b", tokens=1)
    dispatcher.submit([few])
    dispatcher.submit([more])

    assert answer(few) is answer(more)
    engine.release()
    dispatcher.close()


def test_all_lanes_count_for_the_drain_rate() -> None:
    """The retry hint of a rejected call is the time in which two lanes, not one, compute the queue
    and the call's own texts.
    """
    engine = Lanes(2, 2.0)
    dispatcher = Dispatcher(engine, batch_tokens=8, profile=PROFILE, bounds=Bounds(8), name="test")
    first = pending("first", tokens=8)
    dispatcher.submit([first])
    assert answer(first)
    for busy in (1, 2):
        dispatcher.submit([pending("slow", tokens=8)])
        engine.wait_for(lambda engine, busy=busy: engine.texts.count("slow") == busy)  # type: ignore[misc]
    dispatcher.submit([pending("waiting", tokens=8)])

    with pytest.raises(RequestError) as refused:
        dispatcher.submit([pending("too much")])

    assert refused.value.retry_after_s == pytest.approx(9 / 8)
    engine.release()
    dispatcher.close()


def test_a_batch_begins_when_a_lane_is_free() -> None:
    """A batch that waits for a lane begins with the next answer, however long that takes."""
    links: list[Any] = [object(), object(), object()]
    lanes = Links(links, 2)
    assert lanes.oldest_s == math.inf
    first, second = lanes.take(1.0), lanes.take(2.0)
    third = lanes.take(3.0)
    assert lanes.oldest_s == 1.0
    lanes.give(first, 10.0)
    assert lanes.oldest_s == 2.0
    lanes.give(second, 11.0)
    assert lanes.oldest_s == 10.0  # the third began with the first answer
    lanes.give(third, 12.0)
    assert lanes.oldest_s == math.inf
    assert len(lanes.free) == 3
