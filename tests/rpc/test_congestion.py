"""When calls are refused because those before them came too late. Times are made up."""

from classwire_server.rpc.congestion import IN_TIME_WEIGHT, LATE_CALLS, LATE_S, PAUSE_S, Congestion


def bring(congestion: Congestion, calls: int, now_s: float, *, are_late: bool = True) -> float:
    """Bring so many calls, one right behind the other; returns the time when that is done."""
    for _ in range(calls):
        congestion.brings(now_s)
        congestion.comes(-LATE_S if are_late else 1.0)
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

    for _ in range(1_000):  # refused, and so nothing is known of them
        congestion.brings(now_s)
        congestion.brought(now_s + PAUSE_S)
        now_s += 2 * PAUSE_S
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


def test_late_calls_among_others() -> None:
    """Where nearly all come in time nobody is refused, however many they are; where more are late,
    all are.
    """
    rare = round(1 / IN_TIME_WEIGHT)
    for between, is_there in ((rare, False), (rare // 2, True)):
        congestion = Congestion()
        now_s = 100.0
        for _ in range(10 * LATE_CALLS):
            now_s = bring(congestion, 1, now_s)
            now_s = bring(congestion, between, now_s, are_late=False)
        assert congestion.is_there == is_there


def test_calls_that_had_no_time_from_the_first() -> None:
    """Callers who give a call a millisecond keep nobody else out."""
    congestion = Congestion()
    for _ in range(10 * LATE_CALLS):
        congestion.comes(-0.9 * LATE_S)
        assert not congestion.is_there
