"""When a stream reconnects. Pure: no server, no threads, a fake clock."""

import pytest

from classwire import (
    CancelledError,
    DeadlineExceededError,
    InternalError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from classwire._calls.retry import FIRST_CONTACT_S, FIRST_PAUSE_S, LEAST_TIME_S, Contact, Retry
from classwire._streaming.reconnection import Reconnection

UNAVAILABLE = UnavailableError("nobody there")
TIMEOUT = DeadlineExceededError("Deadline Exceeded")


class Stream:
    """A stream whose calls fail, on a clock that only the test moves."""

    def __init__(
        self,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        retry: bool = True,
        contact: Contact | None = None,
    ) -> None:
        self.now_s = 1000.0
        self.calls = 0
        self.reconnection = Reconnection(
            Retry(retry, lambda: 1.0, contact=contact, clock=lambda: self.now_s),
            timeout_s=timeout_s,
            patience_s=patience_s,
            clock=lambda: self.now_s,
        )
        self.reconnection.begin()

    def fail(self, error: Exception = UNAVAILABLE) -> None:
        """Let a call fail, and pause; raises the error that ends the stream."""
        self.calls += 1
        self.now_s += self.reconnection.lost(error)

    def fail_for_good(
        self, error: Exception = UNAVAILABLE, *, starting: bool = False
    ) -> tuple[float, Exception]:
        """Let every call fail, before or after a server accepted it, until the stream gives up.

        Returns the seconds that took, and the error.
        """
        began_s = self.now_s
        try:
            for _ in range(1000):
                self.fail(error)
                if starting:
                    self.reconnection.started()
        except Exception as raised:
            return self.now_s - began_s, raised
        raise AssertionError("it never ended")


def is_just_before(limit_s: float, took: tuple[float, Exception]) -> bool:
    """Return whether a stream gave up just before the limit."""
    return limit_s - LEAST_TIME_S <= took[0] < limit_s and isinstance(took[1], UnavailableError)


def test_without_a_server_patience_ends() -> None:
    """Without a server the stream raises the last error when its patience ends."""
    assert is_just_before(30, Stream(patience_s=30).fail_for_good())


def test_before_the_first_contact_patience_is_short() -> None:
    """A stream of a client that no server has answered gives up soon; a server that starts the
    stream has answered.
    """
    assert is_just_before(FIRST_CONTACT_S, Stream(patience_s=30, contact=Contact()).fail_for_good())
    stream = Stream(patience_s=30, contact=Contact())
    stream.reconnection.started()
    assert is_just_before(30, stream.fail_for_good())


def test_an_answer_resets_patience() -> None:
    """An answer resets patience and backoff."""
    stream = Stream(patience_s=30)
    for _ in range(20):
        for _ in range(10):
            stream.fail()
        stream.reconnection.started()
        stream.reconnection.answered()
        assert stream.reconnection.lost(UNAVAILABLE) == FIRST_PAUSE_S


def test_time_with_a_server_is_no_outage() -> None:
    """Time with a server does not use up patience: an outage after an hour gets the full
    patience.
    """
    stream = Stream(patience_s=30)
    stream.reconnection.started()
    stream.now_s += 3600
    assert is_just_before(30, stream.fail_for_good())


def test_a_server_that_never_answers_does_not_hold_a_stream() -> None:
    """Outages add up when servers accept the stream and end it without an answer."""
    assert is_just_before(30, Stream(patience_s=30).fail_for_good(starting=True))


def test_a_deadline_is_the_limit_where_there_is_one() -> None:
    """A deadline replaces patience: answers do not move it, and each call has the remaining
    time.
    """
    stream = Stream(timeout_s=100)
    assert stream.reconnection.call_timeout_s() == 100
    stream.now_s += 60
    stream.reconnection.started()
    stream.reconnection.answered()
    assert stream.reconnection.call_timeout_s() == 40
    assert is_just_before(40, stream.fail_for_good())


def test_without_limits_a_stream_retries_for_ever() -> None:
    """With a patience of math.inf and no deadline the stream retries for ever."""
    stream = Stream()
    for _ in range(1000):
        stream.fail()


def test_a_timeout_without_a_server_raises_the_error_before_it() -> None:
    """When the deadline passes in a call that no server accepted, the error is that of the call
    before.
    """
    stream = Stream(timeout_s=10)
    stream.fail()
    with pytest.raises(UnavailableError, match="nobody there") as raised:
        stream.fail(TIMEOUT)
    assert raised.value.__cause__ is TIMEOUT


def test_a_timeout_with_a_server_is_raised() -> None:
    """When the deadline passes in a call that a server accepted, the error is the timeout."""
    stream = Stream(timeout_s=10)
    stream.fail()
    stream.reconnection.started()
    with pytest.raises(DeadlineExceededError):
        stream.fail(TIMEOUT)


def test_the_pushback_of_a_rejection_is_waited_out() -> None:
    """The stream waits for the server's pushback, or raises at once when it exceeds patience."""
    rejection = OverloadedError("full", reason=Reason.TOO_MANY_STREAMS, retry_after_s=7)
    stream = Stream(patience_s=30)
    assert stream.reconnection.lost(rejection) > 7
    with pytest.raises(OverloadedError):
        Stream(patience_s=5).fail(rejection)


@pytest.mark.parametrize(
    "error", [InternalError("defect"), CancelledError("closed"), RuntimeError("odd"), TIMEOUT]
)
def test_other_errors_end_the_stream(error: Exception) -> None:
    """Other errors end the stream unchanged."""
    stream = Stream()
    assert not stream.reconnection.is_loss(error)
    with pytest.raises(type(error)) as raised:
        stream.fail(error)
    assert raised.value is error


def test_without_retries_every_error_ends_the_stream() -> None:
    """Without retries every error ends the stream unchanged."""
    stream = Stream(retry=False)
    assert not stream.reconnection.is_loss(UNAVAILABLE)
    with pytest.raises(UnavailableError) as raised:
        stream.fail()
    assert raised.value is UNAVAILABLE
