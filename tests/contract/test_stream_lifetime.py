"""StreamLifetime at chosen instants: the tests pass the clock in."""

import math

import pytest

from classwire.contract.reasons import Reason
from classwire_server.config.server_config import ServerConfig
from classwire_server.service.streaming.lifetime import StreamLifetime, StreamLimits

LIMITS = StreamLimits(idle_timeout_s=10, max_age_s=math.inf, drain_timeout_s=3)


def test_settings() -> None:
    """0 means no limit; the drain timeout is at least one second."""
    unlimited = ServerConfig(stream_idle_timeout_s=0, max_connection_age_s=0, drain_timeout_s=0)
    assert StreamLimits.of(unlimited) == StreamLimits(math.inf, math.inf, 1.0)
    assert StreamLimits.of(ServerConfig()) == StreamLimits(600, 1_800, 30)


def test_idle() -> None:
    """A stream without unanswered items ends at the idle timeout."""
    lifetime = StreamLifetime(LIMITS, now_s=100)

    assert lifetime.next_check_s(104, answered=True) == 110
    assert lifetime.end_error(109.9, answered=True) is None
    failure = lifetime.end_error(110, answered=True)

    assert failure is not None
    assert (failure.reason, failure.metadata) == (Reason.DRAINING, {"idle_timeout_s": "10"})


def test_results_restart_the_idle_time() -> None:
    """The idle time starts again when a result has been sent."""
    lifetime = StreamLifetime(LIMITS, now_s=100)
    lifetime.sending(150)
    lifetime.sent(151)

    assert lifetime.end_error(160, answered=True) is None
    assert lifetime.next_check_s(160, answered=True) == 161


def test_unanswered_items() -> None:
    """A stream with unanswered items is never idle."""
    lifetime = StreamLifetime(LIMITS, now_s=100)

    assert lifetime.end_error(500, answered=False) is None
    assert not lifetime.must_abort(500)
    assert lifetime.next_check_s(500, answered=False) == 510


def test_a_caller_that_does_not_read() -> None:
    """A stream must abort when a message cannot be sent for the idle timeout."""
    lifetime = StreamLifetime(LIMITS, now_s=100)
    lifetime.sending(105)

    assert lifetime.next_check_s(106, answered=False) == 115
    assert not lifetime.must_abort(114.9)
    assert lifetime.must_abort(115)
    assert lifetime.is_sending

    lifetime.sent(115)
    assert not lifetime.must_abort(124)
    assert not lifetime.is_sending


def test_age() -> None:
    """Streams end at their maximum age, or somewhat earlier; those that do not are aborted."""
    limits = StreamLimits(idle_timeout_s=math.inf, max_age_s=100, drain_timeout_s=3)
    ages_s = set()
    for _ in range(20):
        lifetime = StreamLifetime(limits, now_s=0)
        age_s = lifetime.next_check_s(0, answered=False)
        assert 90 <= age_s <= 100
        assert lifetime.end_error(age_s - 0.1, answered=False) is None
        failure = lifetime.end_error(age_s, answered=False)
        assert failure is not None
        assert (failure.reason, failure.metadata) == (Reason.DRAINING, {"max_age_s": "100"})
        assert lifetime.next_check_s(age_s, answered=False) == age_s + 3
        assert not lifetime.must_abort(age_s + 2.9)
        assert lifetime.must_abort(age_s + 3)
        ages_s.add(age_s)

    assert len(ages_s) > 1


@pytest.mark.parametrize("answered", [True, False])
def test_no_limits(answered: bool) -> None:
    """Without limits a stream never ends and needs no check."""
    lifetime = StreamLifetime(StreamLimits(math.inf, math.inf, 30), now_s=0)

    assert lifetime.next_check_s(1e9, answered=answered) == math.inf
    assert lifetime.end_error(1e9, answered=answered) is None
    assert not lifetime.must_abort(1e9)
