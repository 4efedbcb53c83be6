"""Admission by the measured drain rate, and the retry delay of rejected calls."""

import math

import pytest

from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError
from classwire_server.scheduling.admission import UNKNOWN_WAIT_S, Admission
from classwire_server.scheduling.batch import Pending, Priority
from tests.scheduling.simulation import QUICK, START_S, Simulation, waiting


def measured(tokens_per_s: int, lanes: int = 1) -> Admission:
    """An admission with this measured drain rate, whose batches are small."""
    admission = Admission(lanes, 1, QUICK)
    admission.measured(tokens_per_s, 1.0)
    return admission


def busy(*, max_queue_tokens: int = 10_000, waits: int = 0, deadline_s: float = 2.0) -> Simulation:
    """An engine of 1,000 tokens a second that is busy, with `waits` tokens queued.

    `deadline_s` is their deadline, from now.
    """
    made = Simulation(max_queue_tokens=max_queue_tokens, batch_tokens=1, pass_s=0, token_s=0.001)
    made.add(waiting(100))
    made.until(START_S + 1)
    made.add(waiting(100))
    if waits:
        made.add(waiting(waits, deadline_s=made.now_s + deadline_s))
    return made


def rejected(made: Simulation, *texts: Pending) -> RequestError:
    """The error of a call that the scheduler must reject."""
    error = made.call(*texts)
    assert error is not None
    assert error.reason == "OVERLOADED"
    return error


def test_nothing_is_known_before_a_measurement() -> None:
    """Before the first pass every call is in time, and the retry delay is a constant."""
    admission = Admission(2, 8, QUICK)
    assert admission.finish_s(Priority.INTERACTIVE, [1_000], 0, 10_000) == 0.0
    assert admission.lane_tokens(0.001, Priority.INTERACTIVE) == math.inf
    assert admission.reject(10, 100, 0.0, "full").retry_after_s == UNKNOWN_WAIT_S


def test_the_rate_follows_the_engine() -> None:
    """The drain rate follows an engine that becomes half as fast within fifty passes."""
    admission = measured(1_000)
    for _ in range(50):
        admission.measured(100, 0.2)
    assert admission.tokens_per_s == pytest.approx(500, rel=0.02)
    assert admission.wait_s(100) == pytest.approx(0.2, rel=0.02)


def test_one_lane_is_slower_than_all() -> None:
    """One text runs at the speed of one lane; many texts use all lanes."""
    admission = measured(1_000, lanes=4)
    assert admission.lane_s(100, Priority.INTERACTIVE) == pytest.approx(0.4)
    assert admission.finish_s(Priority.INTERACTIVE, [100], 0, 0) == pytest.approx(0.4)
    assert admission.finish_s(Priority.INTERACTIVE, [100] * 8, 0, 0) == pytest.approx(0.8)
    assert admission.finish_s(Priority.INTERACTIVE, [100], 200, 300) == pytest.approx(0.9)


def test_a_small_pass_is_slower_per_token() -> None:
    """A small pass takes longer than its share of a large one."""
    admission = Admission(1, 100, LatencyProfile((16, 256), (0.07, 0.35)))
    assert admission.lane_s(16, Priority.INTERACTIVE) == 0.0
    admission.measured(1_000, 1.0)
    assert admission.lane_s(16, Priority.INTERACTIVE) == pytest.approx(0.07)
    assert admission.finish_s(Priority.INTERACTIVE, [16], 0, 0) == pytest.approx(0.07)
    assert admission.lane_s(1_000, Priority.INTERACTIVE) == pytest.approx(1.0)


@pytest.mark.parametrize("slowness", [1, 3])
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_call_of_many_texts_runs_in_full_passes(slowness: int, lanes: int) -> None:
    """A call of more than one batch takes as long as full passes do, though only small ones have
    been measured; on an engine that is slower than its profile, as much longer.
    """
    admission = Admission(lanes, 256, LatencyProfile((16, 256), (0.07, 0.35)))
    for _ in range(10):
        admission.measured_urgent(16 * lanes)
        admission.measured(16 * lanes, 2 * 0.07 * slowness)
    full_s = 0.35 * slowness / lanes
    assert admission.finish_s(Priority.LARGE, [128] * 64, 0, 0) == pytest.approx(32 * full_s)
    assert admission.finish_s(Priority.LARGE, [128] * 64, 256, 512) == pytest.approx(35 * full_s)
    one_s = 256 / admission.tokens_per_s
    assert admission.finish_s(Priority.INTERACTIVE, [128] * 2, 0, 0) == pytest.approx(one_s)


def test_behind_a_long_queue_there_is_time_for_two_batches() -> None:
    """A call behind a long queue needs time for two whole batches when it reaches the head."""
    admission = Admission(1, 100, QUICK)
    admission.measured(1_000, 1.0)
    assert admission.finish_s(Priority.INTERACTIVE, [10], 500, 50) == pytest.approx(0.55 + 0.05)
    assert admission.finish_s(Priority.INTERACTIVE, [10], 0, 1_000) == pytest.approx(1.0 + 0.2)


def test_the_retry_delay_follows_the_rate() -> None:
    """The retry delay is the time of the queue: twice as long at half the speed."""
    fast, slow = measured(1_000), measured(500)
    assert fast.reject(100, 900, 5.0, "late").retry_after_s == pytest.approx(1.0)
    assert slow.reject(100, 900, 5.0, "late").retry_after_s == pytest.approx(2.0)


def test_the_retry_delay_grows_with_rejections() -> None:
    """The retry delay grows with the recently rejected tokens; old rejections no longer count."""
    admission = measured(1_000)
    waits_s = [admission.reject(100, 0, 5.0, "late").retry_after_s for _ in range(10)]
    assert waits_s == pytest.approx([0.1 * times for times in range(1, 11)])
    assert admission.reject(100, 0, 100.0, "late").retry_after_s == pytest.approx(0.1)


def test_an_idle_engine_takes_anything() -> None:
    """An idle engine admits a call of any size and deadline."""
    made = busy(max_queue_tokens=10)
    made.until(START_S + 10)
    assert made.call(waiting(5_000, deadline_s=made.now_s + 0.001)) is None


def test_a_call_that_cannot_finish_is_rejected() -> None:
    """The scheduler rejects a call that can't finish in time behind the queue."""
    made = busy(waits=1_000, deadline_s=1.03)
    error = rejected(made, waiting(10, deadline_s=made.now_s + 1.05))
    assert error.metadata == {"queue_tokens": "1000"}
    assert error.retry_after_s == pytest.approx(1.01)
    assert made.call(waiting(10, deadline_s=made.now_s + 1.2)) is None


def test_all_texts_of_a_call_or_none() -> None:
    """The scheduler rejects a whole call if one of its texts would be late."""
    made = busy()
    texts = [waiting(100, deadline_s=made.now_s + 0.5) for _ in range(5)]
    rejected(made, *texts)
    assert not any(text.is_queued for text in texts)
    assert made.call(*texts[:4]) is None


def test_later_deadlines_do_not_delay_a_call() -> None:
    """A call with an earlier deadline than the queue's goes first, and is admitted."""
    made = busy(waits=1_000)
    urgent = waiting(10, deadline_s=made.now_s + 0.2)
    assert made.call(urgent) is None
    made.until(made.now_s + 0.2)
    assert urgent.answer is not None


def test_a_full_queue_rejects() -> None:
    """The queue is bounded in tokens; bulk calls may fill half of it."""
    made = busy(max_queue_tokens=1_000, waits=400, deadline_s=math.inf)
    rejected(made, waiting(101, Priority.BULK))
    assert made.call(waiting(100, Priority.BULK)) is None
    rejected(made, waiting(501))
    assert made.call(waiting(500)) is None


def test_known_texts_are_admitted() -> None:
    """A text that is queued or in flight already is admitted to a full queue, and costs nothing."""
    made = busy(max_queue_tokens=1_000)
    [[running]] = made.batches[-1].rows
    full = waiting(1_000)
    assert made.call(full) is None
    rejected(made, waiting(1))
    soon_s = made.now_s + 0.01
    assert made.call(waiting(same_as=full, deadline_s=soon_s)) is None
    assert made.call(waiting(same_as=running, deadline_s=soon_s)) is None
    rejected(made, waiting(1), waiting(same_as=full))


def test_late_calls_expire() -> None:
    """A call whose deadline has passed expires; it is not rejected as overload."""
    made = busy(waits=1_000)
    late = waiting(deadline_s=made.now_s - 1)
    assert made.call(late) is None
    assert isinstance(late.error, RequestError)
    assert late.error.reason == "EXPIRED_IN_QUEUE"


def test_urgent_tokens_count_with_the_next_measurement() -> None:
    """Tokens of urgent batches count with the next measurement of the lanes, and only for the
    interactive rate.
    """
    admission = Admission(1, 1_000, QUICK)
    admission.measured(100, 0.1)
    admission.measured_urgent(500)
    assert admission.tokens_per_s == pytest.approx(1_000)
    for _ in range(100):
        admission.measured_urgent(500)
        admission.measured(500, 1.0)
    assert admission.tokens_per_s == pytest.approx(1_000, rel=0.05)
    for priority, tokens_per_s in ((Priority.INTERACTIVE, 1_000), (Priority.BULK, 500)):
        assert admission.lane_tokens(1.0, priority) == pytest.approx(tokens_per_s, rel=0.05)
        assert admission.lane_s(tokens_per_s, priority) == pytest.approx(1.0, rel=0.05)
        finish_s = admission.finish_s(priority, [tokens_per_s], 0, 0)
        assert finish_s == pytest.approx(1.0, rel=0.05)
