"""When the server sheds calls, on a clock of the test's own."""

from classwire_server.rpc.load_shedding import (
    INTERVAL_S,
    MAX_DELAY,
    MIN_WAITING,
    PROBE_S,
    LoadShedding,
)

THREADS, MAX_WAITING = 64, 1_000
LEFT_S = 1.0
LATE_S = 1.1 * MAX_DELAY * LEFT_S
IN_TIME_S = 0.9 * MAX_DELAY * LEFT_S
STEP_S = INTERVAL_S / 10


def late(shedding: LoadShedding, from_s: float, for_s: float) -> float:
    """Have late calls begin for so long; returns when the last one does."""
    steps = round(for_s / STEP_S)
    for step in range(steps + 1):
        shedding.begins(LATE_S, LEFT_S, from_s + step * STEP_S)
    return from_s + steps * STEP_S


def shedding_since(now_s: float) -> LoadShedding:
    """A controller that sheds, at this time."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    late(shedding, now_s - 2 * INTERVAL_S, 2 * INTERVAL_S)
    assert shedding.is_shedding
    return shedding


def test_a_standing_queue() -> None:
    """Once all calls of an interval were late, the server admits only one now and then."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    now_s = late(shedding, 100.0, INTERVAL_S - STEP_S)
    assert shedding.admits(0, now_s)

    now_s = late(shedding, now_s, 2 * STEP_S)

    arrivals = [now_s + number * PROBE_S / 10 for number in range(40)]
    assert sum(shedding.admits(0, arrival_s) for arrival_s in arrivals) == 4


def bound(shedding: LoadShedding, now_s: float) -> int:
    """How many calls may wait."""
    return next(
        waiting for waiting in range(MAX_WAITING + 1) if not shedding.admits(waiting, now_s)
    )


def test_late_calls_shorten_the_queue() -> None:
    """Each late call lowers the bound of the queue, down to a few calls; each call in time adds one
    to it, up to what it was.
    """
    shedding = LoadShedding(THREADS, MAX_WAITING)
    assert bound(shedding, 100.0) == MAX_WAITING
    shedding.begins(LATE_S, LEFT_S, 100.0)
    assert bound(shedding, 100.0) < MAX_WAITING
    for _ in range(100):
        shedding.begins(LATE_S, LEFT_S, 100.0)
    assert bound(shedding, 100.0) == MIN_WAITING * THREADS
    for calls in (1, 2):
        shedding.begins(IN_TIME_S, LEFT_S, 100.0)
        assert bound(shedding, 100.0) == MIN_WAITING * THREADS + calls
    for _ in range(MAX_WAITING):
        shedding.begins(IN_TIME_S, LEFT_S, 100.0)
    assert bound(shedding, 100.0) == MAX_WAITING


def test_a_burst() -> None:
    """Late calls of less than an interval do not shed others, however many they are."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    for burst in range(10):
        for _ in range(1_000):
            late(shedding, 100.0 + 2 * INTERVAL_S * burst, INTERVAL_S / 2)
        assert shedding.admits(0, 100.0 + 2 * INTERVAL_S * burst)


def test_a_call_in_time_ends_it() -> None:
    """One call that begins in time shows that the queue is gone."""
    shedding = shedding_since(100.0)

    shedding.begins(IN_TIME_S, LEFT_S, 100.0)

    assert all(shedding.admits(0, 100.0) for _ in range(100))
    late(shedding, 100.0, INTERVAL_S - STEP_S)
    assert not shedding.is_shedding


def test_calls_in_time_among_late_ones() -> None:
    """Callers with short deadlines have no others rejected that begin in time."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    now_s = 100.0
    for _ in range(100):
        now_s = late(shedding, now_s, INTERVAL_S / 2)
        shedding.begins(IN_TIME_S, LEFT_S, now_s)
        assert shedding.admits(0, now_s)


def test_no_load_ends_it() -> None:
    """When no late call has begun for an interval there is nothing to shed."""
    shedding = shedding_since(100.0)

    now_s = 100.0 + INTERVAL_S + STEP_S

    assert shedding.admits(0, now_s)
    assert shedding.admits(0, now_s)


def test_calls_without_time() -> None:
    """A call whose caller has gone is late, however short its delay was."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    for step in range(12):
        shedding.begins(0.0, 0.0, 100.0 + step * STEP_S)
    assert shedding.is_shedding


def test_patient_callers() -> None:
    """A call with a long deadline may wait for long."""
    shedding = LoadShedding(THREADS, MAX_WAITING)
    for step in range(100):
        shedding.begins(10 * IN_TIME_S, 10 * LEFT_S, 100.0 + step * STEP_S)
        shedding.begins(10 * IN_TIME_S, float("inf"), 100.0 + step * STEP_S)
    assert not shedding.is_shedding
