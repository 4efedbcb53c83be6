"""What goes to the engine, when, how much at once, and beside what. The clock is passed in."""

import math
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.batch_sizing import (
    BULK_BATCH_S,
    SHARE_TOKENS,
    TRAFFIC_S,
    WAITED_TIMES,
)
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.result_cache import ResultCache
from classwire_server.scheduling.scheduler import Scheduler
from tests.scheduling.simulation import ENOUGH_TOKENS, FULL_TOKENS, PROFILE, QUICK, logits, waiting

BULK = Priority.BULK
NOW_S = 500.0


def make(
    lanes: int = 1,
    batch_tokens: int = 1_000,
    tokens_per_s: int = 0,
    profile: LatencyProfile = PROFILE,
) -> Scheduler:
    """A scheduler whose engine is known to be so fast on each lane, if at all."""
    scheduler = Scheduler(
        lanes=lanes,
        batch_tokens=batch_tokens,
        profile=profile,
        max_queue_tokens=100_000,
        cache_bytes=0,
    )
    if tokens_per_s:
        scheduler.add([waiting(100, BULK)], 0.0)
        batch = scheduler.take(0.0)
        assert batch is not None
        scheduler.finish(batch, [ForwardPass(1, 100, logits(1, 100 / tokens_per_s))], 0.0)
        scheduler.ended.clear()
    return scheduler


def take(scheduler: Scheduler, now_s: float = NOW_S) -> list[Pending]:
    """The texts of the next batch; none when there is no batch."""
    return texts_of(scheduler.take(now_s))


def texts_of(batch: Batch | None) -> list[Pending]:
    """The texts of a batch."""
    return [text for row in batch.rows for text in row] if batch else []


def run_beside(scheduler: Scheduler, *, bulk_tokens: int, urgent_tokens: int, seconds: int) -> None:
    """In each second, a bulk batch that takes all of it, and an urgent one in its first half."""
    for second in range(seconds):
        now_s = NOW_S + second
        scheduler.add([waiting(bulk_tokens, BULK)], now_s)
        bulk = scheduler.take(now_s)
        scheduler.add([waiting(urgent_tokens)], now_s)
        urgent = scheduler.take_urgent(now_s)
        assert bulk is not None
        assert urgent is not None
        scheduler.finish(urgent, [ForwardPass(1, urgent_tokens, logits(1, 0.5))], now_s + 0.5)
        scheduler.finish(bulk, [ForwardPass(1, bulk_tokens, logits(1, 1.0))], now_s + 1)


def test_idle_lanes_share() -> None:
    """What waits is spread over the lanes that are free, down to what is worth a pass."""
    scheduler = make(lanes=4)
    scheduler.add([waiting(SHARE_TOKENS // 2) for _ in range(16)], NOW_S)
    assert [len(take(scheduler)) for _ in range(4)] == [4, 4, 4, 4]
    scheduler = make(lanes=4)
    scheduler.add([waiting(SHARE_TOKENS // 2) for _ in range(4)], NOW_S)
    assert [len(take(scheduler)) for _ in range(3)] == [2, 2, 0]


def test_a_batch_keeps_to_the_best_size() -> None:
    """However much waits, a batch is no larger than what the engine does best."""
    scheduler = make(batch_tokens=300)
    scheduler.add([waiting(100) for _ in range(9)], NOW_S)
    assert len(take(scheduler)) == 3


def test_a_batch_is_small_when_its_first_would_be_late() -> None:
    """The first text of a batch is not made late by those that go with it."""
    scheduler = make(tokens_per_s=1_000)
    first = waiting(100, deadline_s=NOW_S + 0.6)
    scheduler.add([first, *(waiting(100, deadline_s=NOW_S + 9) for _ in range(9))], NOW_S)
    batch = take(scheduler)
    assert batch[0] is first
    assert len(batch) == 4


def test_bulk_batches_are_short_while_there_is_interactive_traffic() -> None:
    """A bulk batch is bounded in time after an interactive text, and large again later."""
    for ago_s, texts in ((0.0, 50 * BULK_BATCH_S), (TRAFFIC_S + 0.1, 100)):
        scheduler = make(tokens_per_s=500)
        scheduler.add([waiting(10)], NOW_S - ago_s)
        first = scheduler.take(NOW_S)
        assert first is not None
        scheduler.finish(first, [ForwardPass(1, 10, logits(1))], NOW_S)
        scheduler.add([waiting(10, BULK) for _ in range(200)], NOW_S)
        assert len(take(scheduler)) == texts


def test_bulk_batches_stay_worth_a_pass() -> None:
    """However slow the engine is, interactive traffic makes bulk batches no smaller than that."""
    scheduler = make(tokens_per_s=100)
    scheduler.add([waiting(10)], NOW_S)
    first = scheduler.take(NOW_S)
    assert first is not None
    scheduler.finish(first, [ForwardPass(1, 10, logits(1))], NOW_S)
    scheduler.add([waiting(SHARE_TOKENS // 4, BULK) for _ in range(200)], NOW_S)
    assert len(take(scheduler)) == 4


def test_late_calls_are_shed() -> None:
    """A call's text that would be late even if it went at once never runs; the next goes."""
    scheduler = make(tokens_per_s=1_000)
    late, in_time = waiting(200, deadline_s=NOW_S + 0.1), waiting(200, deadline_s=NOW_S + 1)
    scheduler.add([late, in_time], NOW_S)
    assert take(scheduler) == [in_time]
    assert isinstance(late.error, RequestError)
    assert late.error.reason == "OVERLOADED"
    assert late.error.retry_after_s


def test_the_last_is_never_shed() -> None:
    """A text that waits alone is tried, however slow the engine seems: else it would never be
    measured again. Nor is a stream's, which has an answer coming.
    """
    scheduler = make(tokens_per_s=1)
    last = waiting(200, deadline_s=NOW_S + 0.1)
    scheduler.add([last], NOW_S)
    assert take(scheduler) == [last]
    scheduler = make(tokens_per_s=1)
    streams = [waiting(200, BULK, NOW_S + 0.1, flow="stream") for _ in range(2)]
    scheduler.add(streams, NOW_S)
    assert take(scheduler) == streams[:1]


def test_a_batch_ahead() -> None:
    """One batch more than there are lanes is taken when it will begin soon and is worth it."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(500)], NOW_S)
    assert not take(scheduler)  # it may still grow
    scheduler.add([waiting(500)], NOW_S)
    assert len(take(scheduler)) == 2
    scheduler.add([waiting(1_000)], NOW_S)
    assert not take(scheduler)


@pytest.mark.parametrize("priority", list(Priority))
def test_bulk_work_is_not_sent_ahead_behind_calls(priority: Priority) -> None:
    """It might start first, and they would wait for it."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000, priority)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(1_000, BULK)], NOW_S)
    assert bool(take(scheduler)) is (priority is BULK)


@pytest.mark.parametrize("tokens_per_s", [0, 1_000])
def test_no_batch_ahead_of_a_long_one(tokens_per_s: int) -> None:
    """What would lie ready for long, or who knows how long, waits where it can be overtaken."""
    scheduler = make(tokens_per_s=tokens_per_s)
    scheduler.add([waiting(100)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(1_000)], NOW_S)
    assert not take(scheduler)


def test_what_is_sent_ahead_counts_the_wait() -> None:
    """A text that would be in time on a free lane, and is late behind what runs, is shed."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000)], NOW_S)
    assert take(scheduler)
    late, in_time = (waiting(1_000, deadline_s=NOW_S + after_s) for after_s in (0.015, 0.5))
    scheduler.add([late, in_time], NOW_S)
    assert take(scheduler) == [in_time]
    assert late.error is not None


def test_interactive_work_goes_beside_bulk() -> None:
    """While lanes hold bulk work a small interactive batch goes beside them, one at a time."""
    scheduler = make()
    scheduler.add([waiting(1_000, BULK), waiting(500, BULK)], NOW_S)
    assert not scheduler.take_urgent(NOW_S)
    assert take(scheduler)
    assert not scheduler.take_urgent(NOW_S)
    calls = [waiting(FULL_TOKENS // 2) for _ in range(3)]
    scheduler.add(calls, NOW_S)
    batch = scheduler.take_urgent(NOW_S)
    assert batch is not None
    assert texts_of(batch) == calls[:2]
    assert batch is scheduler._running.urgent
    assert not scheduler.take_urgent(NOW_S)
    scheduler.finish(batch, [ForwardPass(2, FULL_TOKENS, logits(2))], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == calls[2:]


def test_bulk_work_fills_up_an_urgent_batch() -> None:
    """Bulk texts that fit go along, in order, until there are enough tokens; those that do not are
    next on the lanes.
    """
    scheduler = make(batch_tokens=200)
    scheduler.add([waiting(200, BULK)], NOW_S)
    running = scheduler.take(NOW_S)
    assert running is not None
    call, long = waiting(16), waiting(FULL_TOKENS, BULK)
    fits, too = waiting(FULL_TOKENS - 50, BULK), waiting(34, BULK)
    left = waiting(1, BULK)
    scheduler.add([long, fits, too, left, call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, fits, too]
    scheduler.finish(running, [ForwardPass(1, 200, logits(1))], NOW_S)
    assert take(scheduler) == [long, left]


def test_a_batch_that_is_filled_enough_is_not_filled_further() -> None:
    """More tokens would hardly make the engine faster, and its texts wait for them."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    call, enough = waiting(16), waiting(ENOUGH_TOKENS - 16, BULK)
    scheduler.add([enough, waiting(1, BULK), call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, enough]


@pytest.mark.parametrize("what", ["it has waited", "its deadline is near"])
def test_a_batch_that_is_late_is_filled_less(what: str) -> None:
    """The longer its first text has waited, or the less time it has, the fewer go along."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    # Of the time that it may wait and take so much is left in which 40 tokens are computed.
    left_s = 0.016 + 0.001 * 40
    waited_s, deadline_s = WAITED_TIMES * PROFILE.smallest_s - left_s, NOW_S + 2 * left_s
    if what == "it has waited":
        deadline_s = math.inf
    else:
        waited_s = 0.0
    call, too_long, fits = waiting(16, deadline_s=deadline_s), waiting(26, BULK), waiting(23, BULK)
    scheduler.add([call], NOW_S - waited_s)
    scheduler.add([too_long, fits], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, fits]


def test_bulk_work_fills_up_what_leaves_no_call_waiting() -> None:
    """Where a call does not fit any more no bulk text goes before it."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    first, second = waiting(16), waiting(FULL_TOKENS)
    scheduler.add([waiting(1, BULK), first, second], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [first]


def test_nothing_fills_up_where_texts_share_no_pass() -> None:
    """Where each text is a pass of its own a filled batch takes longer, and is no faster."""
    scheduler = make(profile=replace(PROFILE, is_shared=False))
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    call = waiting(16)
    scheduler.add([waiting(16, BULK), call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call]


@pytest.mark.parametrize("lanes", [1, 2])
def test_bulk_work_fills_up_what_would_take_the_last_lane(lanes: int) -> None:
    """While another lane is free bulk work has that to itself, and calls do not wait for it."""
    scheduler = make(lanes=lanes)
    call, bulk = waiting(16), waiting(20, BULK)
    scheduler.add([bulk, call], NOW_S)
    assert take(scheduler) == ([call, bulk] if lanes == 1 else [call])
    assert take(scheduler) == ([] if lanes == 1 else [bulk])


def test_what_runs_beside_the_lanes_counts_for_the_drain_rate() -> None:
    """Its tokens are counted with those of the lanes, and no second twice."""
    scheduler = make()
    run_beside(scheduler, bulk_tokens=400, urgent_tokens=100, seconds=100)
    assert scheduler.backlog().tokens_per_s == pytest.approx(500, rel=0.05)


def test_interactive_work_waits_for_interactive_work() -> None:
    """Where a lane is free, or all hold interactive work, there is nothing to go beside."""
    scheduler = make(lanes=2)
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting()], NOW_S)
    assert not scheduler.take_urgent(NOW_S)
    scheduler = make()
    scheduler.add([waiting()], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting()], NOW_S)
    assert not scheduler.take_urgent(NOW_S)


def test_calls_are_not_judged_by_how_long_bulk_work_stands_still() -> None:
    """Bulk batches that others overtake take long; a call does not, and is admitted and run."""
    scheduler = make()
    run_beside(scheduler, bulk_tokens=100, urgent_tokens=900, seconds=20)
    scheduler.add([waiting(100, BULK)], NOW_S)
    assert take(scheduler)
    call = waiting(96, deadline_s=NOW_S + 0.2)
    scheduler.admit([call], NOW_S)
    scheduler.add([call, waiting(96)], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call]
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(100, BULK, NOW_S + 0.5)], NOW_S)


def test_the_least_time() -> None:
    """A text is admitted with more time than the least, and refused with less, which depends on
    what goes before it; there is none while the engine is idle, nor where the answer may be known.
    """
    scheduler = make(tokens_per_s=100)
    assert scheduler.least_s(NOW_S) == 0
    scheduler.add([waiting(1_000)], NOW_S)
    assert scheduler.least_s(math.inf) >= 10  # before it runs, as when the engine is down
    assert take(scheduler)
    assert scheduler.least_s(NOW_S) == pytest.approx(10, abs=0.1)
    scheduler.add([waiting(500, deadline_s=NOW_S + 100)], NOW_S)
    assert scheduler.least_s(NOW_S + 99) == pytest.approx(10, abs=0.1)
    least_s = scheduler.least_s(NOW_S + 101)
    assert least_s >= 15
    scheduler._queue.take_all()
    scheduler.add([waiting(500, deadline_s=NOW_S)], NOW_S)
    scheduler.admit([waiting(1, deadline_s=NOW_S + least_s + 0.001)], NOW_S)
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(1, deadline_s=NOW_S + least_s - 0.001)], NOW_S)
    scheduler._cache = ResultCache(1)
    assert scheduler.least_s(NOW_S) == 0


def test_when_unseen_calls_are_to_come_back() -> None:
    """As if each had a text like those of calls, whether let in, refused or known, behind all that
    wait, and at the speed of the engine; before there was a call, like those that were computed.
    """
    waits_s = []
    for tokens_per_s in (100, 50):
        scheduler = make(tokens_per_s=tokens_per_s)  # it has computed a text of 100 tokens
        known = waiting(500)
        scheduler.add([known], NOW_S)
        assert scheduler.refuse(NOW_S - 1_000).retry_after_s == pytest.approx(600 / tokens_per_s)
        scheduler.admit([waiting(500, same_as=known)], NOW_S)
        deadline_s = NOW_S + 1
        with pytest.raises(RequestError):
            scheduler.admit([waiting(n, deadline_s=deadline_s) for n in (30, 60, 210)], NOW_S)
        assert scheduler._admission.text_tokens == 200
        waits_s.append([scheduler.refuse(NOW_S).retry_after_s for _ in range(3)])
    assert waits_s == [pytest.approx([10, 12, 14]), pytest.approx([20, 24, 28])]


def test_one_size_moves_the_time_to_come_back_little() -> None:
    """It is that of a hundred calls."""
    scheduler = make()
    for tokens in (*[10] * 100, 100):
        scheduler.admit([waiting(tokens)], NOW_S)
    assert 10 < scheduler._admission.text_tokens <= 12


def test_calls_do_not_wait_for_bulk() -> None:
    """What is admitted does not depend on bulk work, which is overtaken."""
    scheduler = make(tokens_per_s=1_000)
    scheduler.add([waiting(900, BULK), waiting(900, BULK)], NOW_S)
    assert take(scheduler)
    scheduler.admit([waiting(100, deadline_s=NOW_S + 0.2)], NOW_S)
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(100, BULK, NOW_S + 0.2)], NOW_S)


@pytest.mark.parametrize("flow", [None, "stream"])
def test_expired_and_withdrawn_texts_never_run(flow: str | None) -> None:
    """Texts end where they wait, those whose caller has gone and those whose time has."""
    scheduler = make()
    gone, late, left = (
        waiting(10, BULK, deadline_s, flow) for deadline_s in (math.inf, NOW_S + 1, NOW_S + 2)
    )
    scheduler.add([gone, late, left], NOW_S)
    scheduler.withdraw([gone])
    assert scheduler.earliest_deadline_s == NOW_S + 1
    scheduler.expire(NOW_S + 1)
    assert isinstance(gone.error, CancelledError)
    assert isinstance(late.error, RequestError)
    assert late.error.reason == "EXPIRED_IN_QUEUE"
    assert scheduler.ended == [gone, late]
    assert take(scheduler) == [left]
    scheduler.withdraw([gone, late])
    assert len(scheduler.ended) == 2


def test_closing_ends_what_waits() -> None:
    """At the end what waits is DRAINING, and what runs is answered."""
    scheduler = make()
    runs, waits = waiting(), waiting()
    scheduler.add([runs], NOW_S)
    batch = scheduler.take(NOW_S)
    assert batch is not None
    scheduler.add([waits], NOW_S)
    scheduler.close()
    assert isinstance(waits.error, RequestError)
    assert waits.error.reason == "DRAINING"
    scheduler.finish(batch, [ForwardPass(1, 10, logits(1))], NOW_S)
    assert runs.answer is not None
    assert scheduler.waiting_texts == 0
