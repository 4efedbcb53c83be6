"""When calls are refused because those before them came too late. Times are made up."""

from classwire_server.service.congestion import LATE_CALLS, PAUSE_S, Congestion


def bring(congestion: Congestion, calls: int, now_s: float, *, are_late: bool = True) -> float:
    """Bring so many calls, one right behind the other; returns the time when that is done."""
    for _ in range(calls):
        congestion.brings(now_s)
        if are_late:
            congestion.late()
        now_s += PAUSE_S
        congestion.brought(now_s)
        now_s += PAUSE_S / 2
    return now_s


def test_late_calls_in_a_row() -> None:
    """Once so many have come late, all are refused: however many come, and however long each of
    them takes.
    """
    congestion = Congestion()
    now_s = bring(congestion, LATE_CALLS - 1, 100.0)
    assert not congestion.is_there

    now_s = bring(congestion, 1, now_s)
    assert congestion.is_there

    bring(congestion, 1_000, now_s, are_late=False)
    assert congestion.is_there


def test_a_pause_ends_it() -> None:
    """When no call was there to be brought, nobody waits behind the next one."""
    congestion = Congestion()
    now_s = bring(congestion, 2 * LATE_CALLS, 100.0)
    assert congestion.is_there

    congestion.brings(now_s + PAUSE_S)

    assert not congestion.is_there


def test_late_calls_here_and_there() -> None:
    """Calls that have little time are late now and then, and say nothing of others."""
    congestion = Congestion()
    now_s = 100.0
    for _ in range(10):
        now_s = bring(congestion, LATE_CALLS - 1, now_s) + PAUSE_S
        assert not congestion.is_there
