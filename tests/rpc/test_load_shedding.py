"""Tests for load shedding, with instants that the tests choose."""

import math

from classwire_server.rpc.load_shedding import (
    IN_PROPORTION,
    MAX_DELAY,
    MIN_WAITING,
    PROBES,
    LoadShedding,
)

THREADS, MAX_WAITING = 64, 500
LEFT_S = 1.0
LATE_S = 1.1 * MAX_DELAY * LEFT_S
IN_TIME_S = 0.9 * MAX_DELAY * LEFT_S
START_S = 100.0


def make() -> LoadShedding:
    """A new controller."""
    return LoadShedding(THREADS, MAX_WAITING)


def begin(shedding: LoadShedding, calls: int, now_s: float, *, delay_s: float = LATE_S) -> None:
    """Have a number of calls begin at an instant."""
    for _ in range(calls):
        shedding.begins(delay_s, LEFT_S, now_s)


def bound(shedding: LoadShedding, now_s: float) -> int:
    """How many calls may wait at an instant."""
    return next(
        waiting for waiting in range(MAX_WAITING + 1) if not shedding.admits(waiting, now_s)
    )


def offer(shedding: LoadShedding, seconds: float, now_s: float, share_in_time: float) -> int:
    """Offer 10,000 calls a second, and return how many of them were admitted.

    Admitted calls begin at once, a share of them in time and the others late.
    """
    admitted = in_time = 0
    for number in range(round(seconds * 10_000)):
        if shedding.admits(0, now_s + number / 10_000):
            admitted += 1
            is_in_time = in_time < share_in_time * admitted
            in_time += is_in_time
            delay_s = IN_TIME_S if is_in_time else LATE_S
            begin(shedding, 1, now_s + number / 10_000, delay_s=delay_s)
    return admitted


def test_late_calls_shorten_the_queue() -> None:
    """Each late call lowers the bound of the queue, down to a minimum; each call in time raises it
    by one, up to the maximum.
    """
    shedding = make()
    assert bound(shedding, START_S) == MAX_WAITING
    begin(shedding, 1, START_S)
    assert bound(shedding, START_S) < MAX_WAITING
    begin(shedding, PROBES - 1, START_S)
    assert bound(shedding, START_S) == MIN_WAITING * THREADS
    for calls in (1, 2):
        begin(shedding, 1, START_S, delay_s=IN_TIME_S)
        assert bound(shedding, START_S) == MIN_WAITING * THREADS + calls
    begin(shedding, MAX_WAITING, START_S, delay_s=IN_TIME_S)
    assert bound(shedding, START_S) == MAX_WAITING


def test_calls_that_are_all_late() -> None:
    """The server admits PROBES of them a second, however many come."""
    shedding = make()
    begin(shedding, 10 * PROBES, START_S)

    assert offer(shedding, 2.0, START_S, share_in_time=0.0) == 2 * PROBES
    assert shedding.is_shedding


def test_few_late_calls() -> None:
    """The server sheds nothing for few late calls, or for late calls among enough calls in time."""
    shedding = make()
    begin(shedding, PROBES, START_S)
    assert shedding.admits(0, START_S)
    for _ in range(1_000):
        begin(shedding, IN_PROPORTION - 1, START_S)
        begin(shedding, 1, START_S, delay_s=IN_TIME_S)
    assert shedding.admits(0, START_S)
    assert not shedding.is_shedding


def test_few_calls_in_time() -> None:
    """The server admits calls in proportion to those that begin in time."""
    shedding = make()
    share = 1 / (2 * IN_PROPORTION)
    begin(shedding, 1_000, START_S)
    offer(shedding, 5.0, START_S, share)

    admitted = offer(shedding, 2.0, START_S + 5.0, share)

    # Half of those admitted are in proportion to the calls in time, the other half are probes.
    assert math.isclose(admitted, 2 * 2 * PROBES, rel_tol=0.1)


def test_recovery() -> None:
    """Two seconds after calls begin in time again, the server admits all."""
    shedding = make()
    begin(shedding, 1_000, START_S)
    assert offer(shedding, 2.0, START_S, share_in_time=1.0) < 20_000
    assert offer(shedding, 1.0, START_S + 2.0, share_in_time=1.0) == 10_000
    assert not shedding.is_shedding


def test_no_load_ends_it() -> None:
    """The server stops shedding when no call has begun for a while."""
    shedding = make()
    begin(shedding, 2 * PROBES, START_S)
    assert shedding.admits(0, START_S)
    assert not shedding.admits(0, START_S)

    assert all(shedding.admits(0, START_S + 2.0) for _ in range(100))


def test_calls_without_time() -> None:
    """A call with no time left is late, however short its delay was."""
    shedding = make()
    for _ in range(2 * PROBES):
        shedding.begins(0.0, 0.0, START_S)
    assert shedding.admits(0, START_S)
    assert shedding.is_shedding


def test_long_deadlines() -> None:
    """A call with a long deadline, or none, is in time after a long delay."""
    shedding = make()
    for _ in range(2 * PROBES):
        shedding.begins(10 * IN_TIME_S, 10 * LEFT_S, START_S)
        shedding.begins(10 * IN_TIME_S, math.inf, START_S)
    assert bound(shedding, START_S) == MAX_WAITING
