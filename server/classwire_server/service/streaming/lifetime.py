"""How long a stream may last. Pure: the clock is passed in, in seconds of the monotonic clock."""

import math
import random
from dataclasses import dataclass
from typing import Self

from classwire.contract.reasons import Reason
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import RequestError

LEAST_DRAIN_S = 1.0
"""What a stream that has to end is left at least, so that its status can leave."""
EARLIEST_AGE = 0.9
"""Streams end at different ages, from this share of the limit on, lest all come back at once."""


@dataclass(frozen=True)
class StreamLimits:
    """How long a stream may be idle, be open, and take to end: seconds, math.inf for no limit."""

    idle_timeout_s: float
    max_age_s: float
    drain_timeout_s: float

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """The limits that the settings give."""
        return cls(
            config.stream_idle_timeout_s or math.inf,
            config.max_connection_age_s or math.inf,
            max(config.drain_timeout_s, LEAST_DRAIN_S),
        )


class StreamLifetime:
    """What the limits say of one stream, as time goes by.

    A stream is idle while nothing is unanswered, from its last result on, and while its caller does
    not read what is being sent. Not safe for use by several threads.
    """

    def __init__(self, limits: StreamLimits, now_s: float) -> None:
        self._limits = limits
        self._old_s = now_s + limits.max_age_s * random.uniform(EARLIEST_AGE, 1.0)
        self._idle_since_s = now_s
        self._sending_since_s = math.inf
        self._ends_by_s = math.inf

    @property
    def is_sending(self) -> bool:
        """Whether a message is being sent."""
        return self._sending_since_s < math.inf

    def sending(self, now_s: float) -> None:
        """A message is being sent."""
        self._sending_since_s = now_s

    def sent(self, now_s: float) -> None:
        """The message has been sent."""
        self._idle_since_s = now_s
        self._sending_since_s = math.inf

    def must_be_cut(self, now_s: float) -> bool:
        """Whether there is no more waiting for the caller."""
        idle_s = now_s - self._sending_since_s
        return idle_s >= self._limits.idle_timeout_s or now_s >= self._ends_by_s

    def why_end(self, now_s: float, *, answered: bool) -> RequestError | None:
        """Why the stream has to end; None while it has not. `answered`: nothing is unanswered."""
        limits = self._limits
        if now_s >= self._old_s:
            failure = _draining("is as old as streams may be", "max_age_s", limits.max_age_s)
        elif answered and now_s - self._idle_since_s >= limits.idle_timeout_s:
            failure = _draining("was idle", "idle_timeout_s", limits.idle_timeout_s)
        else:
            return None
        self._ends_by_s = min(self._ends_by_s, now_s + limits.drain_timeout_s)
        return failure

    def next_s(self, now_s: float, *, answered: bool) -> float:
        """No limit passes before this instant."""
        if self._ends_by_s < math.inf:
            return self._ends_by_s
        idle_since_s = now_s
        if self.is_sending:
            idle_since_s = self._sending_since_s
        elif answered:
            idle_since_s = self._idle_since_s
        return min(self._old_s, idle_since_s + self._limits.idle_timeout_s)


def _draining(why: str, limit: str, seconds: float) -> RequestError:
    return RequestError(Reason.DRAINING, f"the stream {why}", metadata={limit: f"{seconds:g}"})
