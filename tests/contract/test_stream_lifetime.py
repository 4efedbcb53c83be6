"""What the limits of a stream's life say at an instant, by a clock that the tests turn."""

import math

import pytest

from classwire.contract.reasons import Reason
from classwire_server.config.server_config import ServerConfig
from classwire_server.service.streaming.lifetime import StreamLifetime, StreamLimits

LIMITS = StreamLimits(idle_timeout_s=10, max_age_s=math.inf, drain_timeout_s=3)


def test_settings() -> None:
    """0 is no limit, and whatever the drain may take, a status has a second to leave."""
    unlimited = ServerConfig(stream_idle_timeout_s=0, max_connection_age_s=0, drain_timeout_s=0)
    assert StreamLimits.of(unlimited) == StreamLimits(math.inf, math.inf, 1.0)
    assert StreamLimits.of(ServerConfig()) == StreamLimits(600, 1_800, 30)


def test_nothing_comes() -> None:
    """A stream of which nothing is unanswered is idle once nothing has come for so long."""
    life = StreamLifetime(LIMITS, now_s=100)

    assert life.next_s(104, answered=True) == 110
    assert life.why_end(109.9, answered=True) is None
    failure = life.why_end(110, answered=True)

    assert failure is not None
    assert (failure.reason, failure.metadata) == (Reason.DRAINING, {"idle_timeout_s": "10"})


def test_results_count_as_life() -> None:
    """The time of a stream whose results have just been sent begins anew."""
    life = StreamLifetime(LIMITS, now_s=100)
    life.sending(150)
    life.sent(151)

    assert life.why_end(160, answered=True) is None
    assert life.next_s(160, answered=True) == 161


def test_unanswered_items() -> None:
    """A stream that waits for the engine is not idle, however long it waits."""
    life = StreamLifetime(LIMITS, now_s=100)

    assert life.why_end(500, answered=False) is None
    assert not life.must_be_cut(500)
    assert life.next_s(500, answered=False) == 510


def test_a_caller_that_does_not_read() -> None:
    """A stream whose message can't be sent for so long is cut, since it can't be told."""
    life = StreamLifetime(LIMITS, now_s=100)
    life.sending(105)

    assert life.next_s(106, answered=False) == 115
    assert not life.must_be_cut(114.9)
    assert life.must_be_cut(115)
    assert life.is_sending

    life.sent(115)
    assert not life.must_be_cut(124)
    assert not life.is_sending


def test_age() -> None:
    """Streams end as old as connections may be, or somewhat younger, and are cut if they don't."""
    limits = StreamLimits(idle_timeout_s=math.inf, max_age_s=100, drain_timeout_s=3)
    ages_s = set()
    for _ in range(20):
        life = StreamLifetime(limits, now_s=0)
        age_s = life.next_s(0, answered=False)
        assert 90 <= age_s <= 100
        assert life.why_end(age_s - 0.1, answered=False) is None
        failure = life.why_end(age_s, answered=False)
        assert failure is not None
        assert (failure.reason, failure.metadata) == (Reason.DRAINING, {"max_age_s": "100"})
        assert life.next_s(age_s, answered=False) == age_s + 3
        assert not life.must_be_cut(age_s + 2.9)
        assert life.must_be_cut(age_s + 3)
        ages_s.add(age_s)

    assert len(ages_s) > 1


@pytest.mark.parametrize("answered", [True, False])
def test_no_limits(answered: bool) -> None:
    """Without limits a stream lasts for ever, and nobody has to look at it."""
    life = StreamLifetime(StreamLimits(math.inf, math.inf, 30), now_s=0)

    assert life.next_s(1e9, answered=answered) == math.inf
    assert life.why_end(1e9, answered=answered) is None
    assert not life.must_be_cut(1e9)
