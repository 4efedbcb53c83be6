"""The retry policy of calls, batches and streams, and deadlines."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from classwire.errors import (
    ClasswireError,
    DeadlineExceededError,
    OverloadedError,
    UnavailableError,
)

from .requests import LONGEST_TIME_S

log = logging.getLogger("classwire")

Clock = Callable[[], float]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
FIRST_CONTACT_S = 1.0
"""How long an operation tries to reach a server when none has ever answered its client."""
LEAST_TIME_S = 0.02
"""With less time than this before the deadline, the client does not try again."""


class Deadline:
    """The deadline of an operation, as one point in time for all of its calls."""

    def __init__(self, timeout_s: float | None, clock: Clock = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._end = None if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float | None:
        """Seconds that are left, at least 0; None without a limit."""
        return None if self._end is None else max(0.0, self._end - self._clock())


def is_retryable(error: object) -> bool:
    """Whether a retry may succeed: UNAVAILABLE, or an overload with a `retry_after`."""
    if isinstance(error, OverloadedError):
        return error.retry_after_s is not None
    return isinstance(error, UnavailableError)


def is_timeout(error: object) -> bool:
    """Whether the client's own deadline passed, which hides the reason."""
    return isinstance(error, DeadlineExceededError) and not error.reason


@dataclass
class Contact:
    """Whether a server has ever answered a client. All of its operations share it."""

    is_made: bool = False


class Retry:
    """The pauses between the attempts of one operation. Not thread-safe.

    `uniform` returns random numbers from 0 to 1, so that clients that failed at the same moment do
    not retry at the same moment.
    """

    def __init__(
        self,
        enabled: bool,
        uniform: Callable[[], float] = random.random,
        *,
        contact: Contact | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.enabled = enabled
        self._uniform = uniform
        self._contact = contact or Contact(is_made=True)
        self._clock = clock
        self._began_s = clock()
        self._longest_s = FIRST_PAUSE_S

    def pause_s(self, error: Exception, left_s: float | None) -> float | None:
        """Seconds to wait before the next attempt; None for no further attempt.

        At least the server's `retry_after`, and less than `left_s`, the seconds before the deadline
        (None without one). Before the first contact, the deadline is at most `FIRST_CONTACT_S`
        after the start.
        """
        if not self.enabled or not is_retryable(error):
            return None
        if not self._contact.is_made:
            first_s = FIRST_CONTACT_S - (self._clock() - self._began_s)
            left_s = first_s if left_s is None else min(left_s, first_s)
        asked_s = min(max(getattr(error, "retry_after_s", None) or 0.0, 0.0), LONGEST_TIME_S)
        backoff_s = self._longest_s * (0.5 + 0.5 * self._uniform())
        self._longest_s = min(2 * self._longest_s, LONGEST_PAUSE_S)
        spare_s = math.inf if left_s is None else left_s - asked_s
        if spare_s < LEAST_TIME_S:
            return None
        pause_s = asked_s + min(backoff_s, spare_s / 2)
        log.info("%s; trying again in %.1f s", error, pause_s, extra={"left_s": left_s})
        return pause_s

    def reached(self) -> None:
        """Record that a server has answered."""
        self._contact.is_made = True

    def succeeded(self) -> None:
        """Start over with short pauses."""
        self._longest_s = FIRST_PAUSE_S

    def progressed(self, error: ClasswireError) -> None:
        """Start over for the rest of a batch that failed with `error`, while other texts succeeded.

        A text whose windows did not fit next to those of other texts may follow almost at once.
        """
        self._longest_s = min(error.retry_after_s or FIRST_PAUSE_S, FIRST_PAUSE_S)
