"""What goes to the engine, when, and in which batch. The clock is passed in."""

import math
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.batch_sizing import (
    MAX_LATENCY_RATIO,
    SHARE_TOKENS,
    TRAFFIC_S,
    YIELDING_BATCH_S,
)
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Bounds, Scheduler
from tests.scheduling.simulation import ENOUGH_TOKENS, FULL_TOKENS, PROFILE, QUICK, logits, waiting

BULK, INTERACTIVE, LARGE = Priority.BULK, Priority.INTERACTIVE, Priority.LARGE
NOW_S = 500.0


def make(
    lanes: int = 1,
    batch_tokens: int = 1_000,
    tokens_per_s: int = 0,
    profile: LatencyProfile = PROFILE,
    cache_bytes: int = 0,
) -> Scheduler:
    """A scheduler that has measured this rate of each lane, unless it is 0."""
    scheduler = Scheduler(
        lanes=lanes,
        batch_tokens=batch_tokens,
        profile=profile,
        bounds=Bounds(100_000, cache_bytes),
    )
    if tokens_per_s:
        scheduler.add([waiting(100, BULK)], 0.0)
        batch = scheduler.take(0.0)
        assert batch is not None
        scheduler.finish(batch, [ForwardPass(1, 100, logits(1, 100 / tokens_per_s))], 0.0)
        scheduler.ended.clear()
    return scheduler


def take(scheduler: Scheduler, now_s: float = NOW_S) -> list[Pending]:
    """The texts of the next batch; empty without one."""
    return texts_of(scheduler.take(now_s))


def texts_of(batch: Batch | None) -> list[Pending]:
    """The texts of a batch."""
    return [text for row in batch.rows for text in row] if batch else []


def run_urgent_during_bulk(
    scheduler: Scheduler, *, bulk_tokens: int, urgent_tokens: int, seconds: int
) -> None:
    """Each second runs a bulk batch, and an urgent one in its first half."""
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
    """Queued work is spread over the free lanes, in batches of at least SHARE_TOKENS."""
    scheduler = make(lanes=4)
    scheduler.add([waiting(SHARE_TOKENS // 2) for _ in range(16)], NOW_S)
    assert [len(take(scheduler)) for _ in range(4)] == [4, 4, 4, 4]
    scheduler = make(lanes=4)
    scheduler.add([waiting(SHARE_TOKENS // 2) for _ in range(4)], NOW_S)
    assert [len(take(scheduler)) for _ in range(3)] == [2, 2, 0]


def test_a_batch_keeps_to_the_best_size() -> None:
    """A batch has at most `batch_tokens`."""
    scheduler = make(batch_tokens=300)
    scheduler.add([waiting(100) for _ in range(9)], NOW_S)
    assert len(take(scheduler)) == 3


def test_a_batch_is_small_when_its_first_would_be_late() -> None:
    """A batch is small enough for its first text to be in time."""
    scheduler = make(tokens_per_s=1_000)
    first = waiting(100, deadline_s=NOW_S + 0.6)
    scheduler.add([first, *(waiting(100, deadline_s=NOW_S + 9) for _ in range(9))], NOW_S)
    batch = take(scheduler)
    assert batch[0] is first
    assert len(batch) == 4


def test_bulk_batches_are_short_while_there_is_interactive_traffic() -> None:
    """A bulk batch is bounded in time after an interactive text, and large again later."""
    for ago_s, texts in ((0.0, 50 * YIELDING_BATCH_S), (TRAFFIC_S + 0.1, 100)):
        scheduler = make(tokens_per_s=500)
        scheduler.add([waiting(10)], NOW_S - ago_s)
        first = scheduler.take(NOW_S)
        assert first is not None
        scheduler.finish(first, [ForwardPass(1, 10, logits(1))], NOW_S)
        scheduler.add([waiting(10, BULK) for _ in range(200)], NOW_S)
        assert len(take(scheduler)) == texts


def test_bulk_batches_have_a_least_size() -> None:
    """On a slow engine, interactive traffic makes bulk batches no smaller than SHARE_TOKENS."""
    scheduler = make(tokens_per_s=100)
    scheduler.add([waiting(10)], NOW_S)
    first = scheduler.take(NOW_S)
    assert first is not None
    scheduler.finish(first, [ForwardPass(1, 10, logits(1))], NOW_S)
    scheduler.add([waiting(SHARE_TOKENS // 4, BULK) for _ in range(200)], NOW_S)
    assert len(take(scheduler)) == 4


def test_late_calls_are_shed() -> None:
    """The scheduler sheds a call's text that would be late in this batch, and takes the next."""
    scheduler = make(tokens_per_s=1_000)
    late, in_time = waiting(200, deadline_s=NOW_S + 0.1), waiting(200, deadline_s=NOW_S + 1)
    scheduler.add([late, in_time], NOW_S)
    assert take(scheduler) == [in_time]
    assert isinstance(late.error, RequestError)
    assert late.error.reason == "OVERLOADED"
    assert late.error.retry_after_s


def test_the_last_is_never_shed() -> None:
    """A text that is alone runs, however slow the engine seems: only a pass renews the drain rate.
    A stream's text is never shed.
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
    """One batch goes ahead of the next free lane if it will start soon and is large enough."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(500)], NOW_S)
    assert not take(scheduler)  # it may still grow
    scheduler.add([waiting(500)], NOW_S)
    assert len(take(scheduler)) == 2
    scheduler.add([waiting(1_000)], NOW_S)
    assert not take(scheduler)


@pytest.mark.parametrize("running", list(Priority))
@pytest.mark.parametrize("ahead", list(Priority))
def test_no_batch_goes_ahead_behind_a_higher_priority(running: Priority, ahead: Priority) -> None:
    """No batch goes ahead behind one of a higher priority: it could start before that."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000, running)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(1_000, ahead)], NOW_S)
    order = [INTERACTIVE, LARGE, BULK]
    assert bool(take(scheduler)) is (order.index(ahead) <= order.index(running))


@pytest.mark.parametrize(
    ("sizes_tokens", "priority", "becomes"),
    [
        ([60, 41], INTERACTIVE, LARGE),
        ([60, 40], INTERACTIVE, INTERACTIVE),
        ([101], INTERACTIVE, INTERACTIVE),
        ([60, 41], BULK, BULK),
    ],
)
def test_calls_of_more_than_one_batch_are_large(
    sizes_tokens: list[int], priority: Priority, becomes: Priority
) -> None:
    """An interactive call of several texts that do not fit into one batch is large, on an idle
    engine and on a busy one. A text alone never is.
    """
    scheduler = make(batch_tokens=100)
    for _ in range(2):
        texts = [waiting(tokens, priority) for tokens in sizes_tokens]
        scheduler.admit(texts, NOW_S)
        scheduler.add(texts, NOW_S)
        assert {text.priority for text in texts} == {becomes}


def test_only_what_is_computed_makes_a_call_large() -> None:
    """Repeated texts of a call, and those that are queued already, do not make it large."""
    scheduler = make(batch_tokens=100)
    queued = waiting(60)
    scheduler.add([queued], NOW_S)
    new = waiting(60)
    texts = [waiting(same_as=queued), new, waiting(same_as=new)]
    scheduler.admit(texts, NOW_S)
    assert {text.priority for text in texts} == {INTERACTIVE}


def test_calls_overtake_a_large_one() -> None:
    """While a large call runs, a small one runs as an urgent batch; the next large call does not.
    The texts of large calls that fit fill it up.
    """
    scheduler = make(batch_tokens=100)
    large = [waiting(60, deadline_s=NOW_S + 9) for _ in range(3)]
    scheduler.admit(large, NOW_S)
    scheduler.add(large, NOW_S)
    assert take(scheduler) == large[:1]
    assert not scheduler.take_urgent(NOW_S)
    call = waiting(16, deadline_s=NOW_S + 99)
    scheduler.admit([call], NOW_S)
    scheduler.add([call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, large[1]]


def test_a_small_call_does_not_wait_for_a_large_one() -> None:
    """Admission of a small call counts no text of a large one, queued or running."""
    scheduler = make(batch_tokens=100, tokens_per_s=1_000)
    large = [waiting(60, deadline_s=NOW_S + 0.5) for _ in range(100)]
    scheduler.admit(large, NOW_S)
    scheduler.add(large, NOW_S)
    assert take(scheduler)
    scheduler.admit([waiting(16, deadline_s=NOW_S + 0.4)], NOW_S)
    with pytest.raises(RequestError):
        scheduler.admit([waiting(60, deadline_s=NOW_S + 1) for _ in range(10)], NOW_S)


@pytest.mark.parametrize("tokens_per_s", [0, 1_000])
def test_no_batch_ahead_of_a_long_one(tokens_per_s: int) -> None:
    """No batch goes ahead if the lanes are busy for long, or for an unknown time."""
    scheduler = make(tokens_per_s=tokens_per_s)
    scheduler.add([waiting(100)], NOW_S)
    assert take(scheduler)
    scheduler.add([waiting(1_000)], NOW_S)
    assert not take(scheduler)


def test_a_batch_ahead_counts_its_wait() -> None:
    """The scheduler sheds a text that would be late because its batch waits for a lane."""
    scheduler = make(tokens_per_s=100_000, profile=QUICK)
    scheduler.add([waiting(1_000)], NOW_S)
    assert take(scheduler)
    late, in_time = (waiting(1_000, deadline_s=NOW_S + after_s) for after_s in (0.015, 0.5))
    scheduler.add([late, in_time], NOW_S)
    assert take(scheduler) == [in_time]
    assert late.error is not None


def test_urgent_batches_need_no_lane() -> None:
    """While the lanes hold bulk work a small urgent batch needs no lane; one at a time."""
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
    assert batch.is_urgent
    assert not scheduler.take_urgent(NOW_S)
    scheduler.finish(batch, [ForwardPass(2, FULL_TOKENS, logits(2))], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == calls[2:]


def test_bulk_work_fills_up_an_urgent_batch() -> None:
    """Bulk texts that fit join an urgent batch, in order, until it has enough tokens. The others
    are next on the lanes.
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


def test_filling_stops_at_an_efficient_size() -> None:
    """A batch with an efficient size is filled no further."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    call, enough = waiting(16), waiting(ENOUGH_TOKENS - 16, BULK)
    scheduler.add([enough, waiting(1, BULK), call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, enough]


@pytest.mark.parametrize("what", ["it has waited", "its deadline is near"])
def test_a_batch_that_is_late_is_filled_less(what: str) -> None:
    """The longer its first text has waited, or the less time it has, the less bulk work joins."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    # Of the time that it may wait and take so much is left in which 40 tokens are computed.
    left_s = 0.016 + 0.001 * 40
    waited_s, deadline_s = MAX_LATENCY_RATIO * PROFILE.smallest_s - left_s, NOW_S + 2 * left_s
    if what == "it has waited":
        deadline_s = math.inf
    else:
        waited_s = 0.0
    call, too_long, fits = waiting(16, deadline_s=deadline_s), waiting(26, BULK), waiting(23, BULK)
    scheduler.add([call], NOW_S - waited_s)
    scheduler.add([too_long, fits], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call, fits]


def test_nothing_fills_up_before_a_queued_call() -> None:
    """No bulk text joins an urgent batch while a call's text stays queued."""
    scheduler = make()
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    first, second = waiting(16), waiting(FULL_TOKENS)
    scheduler.add([waiting(1, BULK), first, second], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [first]


def test_nothing_fills_up_where_texts_share_no_pass() -> None:
    """If each text is a pass of its own, filling gains nothing, and the scheduler adds no bulk
    work.
    """
    scheduler = make(profile=replace(PROFILE, is_shared=False))
    scheduler.add([waiting(500, BULK)], NOW_S)
    assert take(scheduler)
    call = waiting(16)
    scheduler.add([waiting(16, BULK), call], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call]


@pytest.mark.parametrize("lanes", [1, 2])
def test_bulk_work_fills_up_a_batch_on_the_last_lane(lanes: int) -> None:
    """Bulk work joins an interactive batch on the last free lane; else it gets its own lane."""
    scheduler = make(lanes=lanes)
    call, bulk = waiting(16), waiting(20, BULK)
    scheduler.add([bulk, call], NOW_S)
    assert take(scheduler) == ([call, bulk] if lanes == 1 else [call])
    assert take(scheduler) == ([] if lanes == 1 else [bulk])


def test_urgent_batches_count_for_the_drain_rate() -> None:
    """Tokens of urgent batches count for the drain rate, without counting their time twice."""
    scheduler = make()
    run_urgent_during_bulk(scheduler, bulk_tokens=400, urgent_tokens=100, seconds=100)
    assert scheduler.backlog().tokens_per_s == pytest.approx(500, rel=0.05)


def test_interactive_work_waits_for_interactive_work() -> None:
    """There is no urgent batch while a lane is free, or while all lanes hold interactive work."""
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


def test_preempted_bulk_time_does_not_count_for_calls() -> None:
    """Preempted bulk batches take long. Admission of calls does not count that time."""
    scheduler = make()
    run_urgent_during_bulk(scheduler, bulk_tokens=100, urgent_tokens=900, seconds=20)
    scheduler.add([waiting(100, BULK)], NOW_S)
    assert take(scheduler)
    call = waiting(96, deadline_s=NOW_S + 0.2)
    scheduler.admit([call], NOW_S)
    scheduler.add([call, waiting(96)], NOW_S)
    assert texts_of(scheduler.take_urgent(NOW_S)) == [call]
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(100, BULK, NOW_S + 0.5)], NOW_S)


def test_the_least_time() -> None:
    """The scheduler admits a text with more time than `least_s`, and rejects it with less.
    `least_s` depends on the work ahead. It is 0 for an idle engine, and with a cache.
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
    scheduler.close()  # empties the queue
    scheduler.add([waiting(500, deadline_s=NOW_S)], NOW_S)
    scheduler.admit([waiting(1, deadline_s=NOW_S + least_s + 0.001)], NOW_S)
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(1, deadline_s=NOW_S + least_s - 0.001)], NOW_S)
    scheduler = make(tokens_per_s=100, cache_bytes=1)
    scheduler.add([waiting(1_000)], NOW_S)
    assert take(scheduler)
    assert scheduler.least_s(NOW_S) == 0


def test_the_retry_delay_of_calls_that_were_not_read() -> None:
    """The retry delay of a call that was rejected before it was read counts one text of the mean
    size, behind the queue. Before the first call it is the mean size in passes.
    """
    waits_s = []
    for tokens_per_s in (100, 50):
        scheduler = make(tokens_per_s=tokens_per_s)  # it has computed a text of 100 tokens
        known = waiting(500)
        scheduler.add([known], NOW_S)
        assert scheduler.reject(NOW_S - 1_000).retry_after_s == pytest.approx(600 / tokens_per_s)
        scheduler.admit([waiting(500, same_as=known)], NOW_S)
        deadline_s = NOW_S + 1
        with pytest.raises(RequestError):
            scheduler.admit([waiting(n, deadline_s=deadline_s) for n in (30, 60, 210)], NOW_S)
        waits_s.append([scheduler.reject(NOW_S).retry_after_s for _ in range(3)])
    assert waits_s == [pytest.approx([10, 12, 14]), pytest.approx([20, 24, 28])]


def test_one_call_changes_the_mean_size_little() -> None:
    """The mean size follows a hundred calls, so a single one changes it little."""
    scheduler = make(tokens_per_s=1)
    for tokens in (*[10] * 100, 100):
        scheduler.admit([waiting(tokens)], NOW_S)
    retry_after_s = scheduler.reject(NOW_S).retry_after_s
    assert retry_after_s is not None
    assert 10 < retry_after_s <= 12


def test_calls_do_not_wait_for_bulk() -> None:
    """Admission of calls does not count bulk work, which they overtake."""
    scheduler = make(tokens_per_s=1_000)
    scheduler.add([waiting(900, BULK), waiting(900, BULK)], NOW_S)
    assert take(scheduler)
    scheduler.admit([waiting(100, deadline_s=NOW_S + 0.2)], NOW_S)
    with pytest.raises(RequestError, match="can't be met"):
        scheduler.admit([waiting(100, BULK, NOW_S + 0.2)], NOW_S)


@pytest.mark.parametrize("flow", [None, "stream"])
def test_expired_and_withdrawn_texts_never_run(flow: str | None) -> None:
    """Withdrawn and expired texts leave the queue at once, and end once."""
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


def test_closing_ends_queued_texts() -> None:
    """`close` ends queued texts as DRAINING; texts in flight are answered."""
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
