"""Texts with the same ids are computed once, for all their callers."""

from concurrent.futures import CancelledError

import pytest

from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Bounds, Scheduler
from tests.scheduling.simulation import PROFILE, logits, waiting

NOW_S = 50.0


@pytest.fixture
def scheduler() -> Scheduler:
    """A scheduler for one lane, without a cache."""
    return Scheduler(lanes=1, batch_tokens=1_000, profile=PROFILE, bounds=Bounds(10_000))


def take(scheduler: Scheduler) -> Batch:
    """The next batch."""
    batch = scheduler.take(NOW_S)
    assert batch is not None
    return batch


def finish(scheduler: Scheduler, batch: Batch, error: Exception | None = None) -> None:
    """Finish a batch with answers, or with an error."""
    done = ForwardPass(len(batch.rows), batch.tokens, error or logits(len(batch.rows)))
    scheduler.finish(batch, [done], NOW_S)


def value(text: Pending) -> float:
    """The logit of a text: its row in the batch."""
    assert text.answer is not None
    return float(text.answer.logits.values[text.row, 0])


def test_once_for_many_callers(scheduler: Scheduler) -> None:
    """Callers of different priorities and deadlines share one row. Only the first text counts as
    computed.
    """
    other, bulk = waiting(), waiting(priority=Priority.BULK, flow="stream")
    same = [waiting(same_as=bulk, deadline_s=NOW_S + later_s) for later_s in (9, 1, 5)]
    scheduler.add([other, bulk, *same], NOW_S)
    batch = take(scheduler)
    assert len(batch.rows) == 2
    finish(scheduler, batch)
    assert [value(text) for text in [bulk, *same]] == [value(bulk)] * 4
    assert value(other) != value(bulk)
    assert sorted(text.cached for text in [bulk, *same]) == [False, True, True, True]
    assert not other.cached
    assert len(scheduler.ended) == 5


def test_joining_a_batch_in_flight(scheduler: Scheduler) -> None:
    """A text whose ids are in flight joins their row."""
    first = waiting()
    scheduler.add([first], NOW_S)
    batch = take(scheduler)
    joiner = waiting(same_as=first, priority=Priority.BULK)
    scheduler.add([joiner], NOW_S)
    assert scheduler.waiting_texts == 0
    finish(scheduler, batch)
    assert joiner.answer is first.answer
    assert (first.cached, joiner.cached) == (False, True)


@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("in_flight", [False, True])
def test_one_caller_goes(scheduler: Scheduler, gone: int, in_flight: bool) -> None:
    """If one of two callers cancels, before or while the text runs, the other gets its answer."""
    first = waiting()
    texts = [first, waiting(same_as=first)]
    scheduler.add(texts, NOW_S)
    if not in_flight:
        scheduler.withdraw([texts[gone]])
    batch = take(scheduler)
    scheduler.withdraw([texts[gone]])
    assert isinstance(texts[gone].error, CancelledError)
    finish(scheduler, batch)
    assert texts[gone].answer is None
    assert texts[1 - gone].answer is not None
    assert len(scheduler.ended) == 2


def test_a_failure_is_shared(scheduler: Scheduler) -> None:
    """All callers of a text that fails get its error."""
    first = waiting()
    texts = [first, waiting(same_as=first)]
    scheduler.add(texts, NOW_S)
    error = ValueError()
    finish(scheduler, take(scheduler), error)
    assert [text.error for text in texts] == [error, error]


def test_one_caller_expires(scheduler: Scheduler) -> None:
    """If the first of two callers expires, the text is computed for the other."""
    late = waiting(deadline_s=NOW_S + 1)
    heir = waiting(same_as=late, deadline_s=NOW_S + 2)
    scheduler.add([late, heir], NOW_S)
    scheduler.expire(NOW_S + 1)
    finish(scheduler, take(scheduler))
    assert heir.answer is not None
    assert not heir.cached
    assert late.answer is None


def test_interactive_text_shared_with_bulk_is_urgent(scheduler: Scheduler) -> None:
    """A call that shares a text with queued bulk work goes in an urgent batch."""
    scheduler.add([waiting(priority=Priority.BULK)], NOW_S)
    take(scheduler)
    bulk = waiting(priority=Priority.BULK)
    call = waiting(same_as=bulk)
    scheduler.add([bulk, call], NOW_S)
    batch = scheduler.take_urgent(NOW_S)
    assert batch is not None
    assert batch.rows == [[call, bulk]]


def test_the_cache_answers_known_texts() -> None:
    """The cache answers a known text at once, even with a full queue. It keeps no failure and no
    NaN.
    """
    scheduler = Scheduler(lanes=1, batch_tokens=10, profile=PROFILE, bounds=Bounds(10, 10_000))
    good, bad, nan = waiting(), waiting(), waiting()
    for text in (good, bad, nan):
        scheduler.add([text], NOW_S)
        batch = take(scheduler)
        result = logits(1)
        result.values[:] = float("nan") if text is nan else 7.0
        error = ValueError() if text is bad else None
        scheduler.finish(batch, [ForwardPass(1, 10, error or result)], NOW_S)
    scheduler.add([waiting(10)], NOW_S)
    take(scheduler)
    scheduler.add([waiting(10)], NOW_S)
    hit = waiting(same_as=good)
    scheduler.admit([hit], NOW_S)
    assert scheduler.has_room(waiting(same_as=good, flow="stream"))
    scheduler.add([hit], NOW_S)
    assert (value(hit), hit.cached) == (7.0, True)
    again = [waiting(same_as=bad), waiting(same_as=nan)]
    scheduler.add(again, NOW_S)
    assert not any(text.ended for text in again)
