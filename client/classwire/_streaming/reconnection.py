"""When a stream makes its next call after it has lost one."""

from __future__ import annotations

import time

from classwire._calls.retry import Clock, Deadline, Retry, is_retryable, is_timeout
from classwire._connection.session import Session


class Reconnection:
    """The policy of one stream. Not thread-safe.

    With `timeout_s` the stream has a deadline, which starts with `begin`. Without it, the stream
    gives up after `patience_s` without a server since the last answer; None means never.
    """

    def __init__(
        self,
        retry: Retry,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._retry = retry
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._clock = clock
        self._deadline = Deadline(None)
        # Time without a server since the last answer: the sum of earlier outages, and the start of
        # the present one. A server that starts the stream does not reset the sum, since it may
        # never answer.
        self._outage_s = 0.0
        self._outage_began_s: float | None = None
        self._last: Exception | None = None

    @classmethod
    def of(cls, session: Session, timeout_s: float | None) -> Reconnection:
        """The policy of a client's new stream. Without a deadline, it is as patient as a call."""
        limit_s = session.seconds(timeout_s)
        if timeout_s is None:
            return cls(session.retry(), patience_s=limit_s)
        return cls(session.retry(), timeout_s=limit_s)

    def begin(self) -> None:
        """Begin the stream."""
        self._deadline = Deadline(self._timeout_s, self._clock)
        self._outage_began_s = self._clock()

    def call_timeout_s(self) -> float | None:
        """The timeout of a call that starts now; None for no limit."""
        return self._deadline.left_s()

    def started(self) -> None:
        """Record that a server has started the stream."""
        self._retry.reached()
        if self._outage_began_s is not None:
            self._outage_s += self._clock() - self._outage_began_s
        self._outage_began_s = None
        self._last = None

    def answered(self) -> None:
        """Record that a server has answered an item."""
        self._outage_s = 0.0
        self._retry.succeeded()

    def is_loss(self, error: object) -> bool:
        """Whether the client repeats a call or item that ended with this error."""
        return self._retry.enabled and is_retryable(error)

    def lost(self, error: Exception) -> float:
        """Seconds until the next call. Raises the error for the caller if there is no next call."""
        if self._last is not None and is_timeout(error):
            raise self._last from error
        if self._outage_began_s is None:
            self._outage_began_s = self._clock()
        pause_s = self._retry.pause_s(error, self._left_s(self._outage_began_s))
        if pause_s is None:
            raise error
        self._last = error
        return pause_s

    def _left_s(self, outage_began_s: float) -> float | None:
        if self._patience_s is None:
            return self._deadline.left_s()
        return self._patience_s - self._outage_s - (self._clock() - outage_began_s)
