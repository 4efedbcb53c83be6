"""When the server sheds calls, on a clock of the test's own."""

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


def made() -> LoadShedding:
    """A controller."""
    return LoadShedding(THREADS, MAX_WAITING)


def begin(shedding: LoadShedding, calls: int, now_s: float, *, delay_s: float = LATE_S) -> None:
    """Have so many calls begin."""
    for _ in range(calls):
        shedding.begins(delay_s, LEFT_S, now_s)


def bound(shedding: LoadShedding, now_s: float) -> int:
    """How many calls may wait."""
    return next(
        waiting for waiting in range(MAX_WAITING + 1) if not shedding.admits(waiting, now_s)
    )


def offer(shedding: LoadShedding, seconds: float, now_s: float, share_in_time: float) -> int:
    """Offer 10,000 calls a second, of which those admitted begin at once, so many of them in time;
    returns how many were admitted.
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
    """Each late call lowers the bound of the queue, down to a few calls; each call in time adds one
    to it, up to what it was.
    """
    shedding = made()
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
    """The server admits a few of them in a second, however many come."""
    shedding = made()
    begin(shedding, 10 * PROBES, START_S)

    assert offer(shedding, 2.0, START_S, share_in_time=0.0) == 2 * PROBES
    assert shedding.is_shedding


def test_few_late_calls() -> None:
    """A few late calls have no others rejected, nor have late ones among as many in time."""
    shedding = made()
    begin(shedding, PROBES, START_S)
    assert shedding.admits(0, START_S)
    for _ in range(1_000):
        begin(shedding, IN_PROPORTION - 1, START_S)
        begin(shedding, 1, START_S, delay_s=IN_TIME_S)
    assert shedding.admits(0, START_S)
    assert not shedding.is_shedding


def test_calls_of_which_few_begin_in_time() -> None:
    """The server admits them in proportion to those that begin in time."""
    shedding = made()
    share = 1 / (2 * IN_PROPORTION)
    begin(shedding, 1_000, START_S)
    offer(shedding, 5.0, START_S, share)

    admitted = offer(shedding, 2.0, START_S + 5.0, share)

    # With half of the calls in proportion it is the probes and as many again.
    assert math.isclose(admitted, 2 * 2 * PROBES, rel_tol=0.1)


def test_calls_that_begin_in_time_again() -> None:
    """Then all are admitted within two seconds."""
    shedding = made()
    begin(shedding, 1_000, START_S)
    assert offer(shedding, 2.0, START_S, share_in_time=1.0) < 20_000
    assert offer(shedding, 1.0, START_S + 2.0, share_in_time=1.0) == 10_000
    assert not shedding.is_shedding


def test_no_load_ends_it() -> None:
    """When no late call has begun for a while there is nothing to shed."""
    shedding = made()
    begin(shedding, 2 * PROBES, START_S)
    assert shedding.admits(0, START_S)
    assert not shedding.admits(0, START_S)

    assert all(shedding.admits(0, START_S + 2.0) for _ in range(100))


def test_calls_without_time() -> None:
    """A call whose caller has gone is late, however short its delay was."""
    shedding = made()
    for _ in range(2 * PROBES):
        shedding.begins(0.0, 0.0, START_S)
    assert shedding.admits(0, START_S)
    assert shedding.is_shedding


def test_patient_callers() -> None:
    """A call with a long deadline may wait for long."""
    shedding = made()
    for _ in range(2 * PROBES):
        shedding.begins(10 * IN_TIME_S, 10 * LEFT_S, START_S)
        shedding.begins(10 * IN_TIME_S, math.inf, START_S)
    assert bound(shedding, START_S) == MAX_WAITING
