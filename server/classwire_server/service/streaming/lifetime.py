"""How long a stream may last. Pure: the clock is passed in, in seconds of the monotonic clock."""

import math
import random
from dataclasses import dataclass
from typing import Self

from classwire.contract.reasons import Reason
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import RequestError

MIN_DRAIN_S = 1.0
"""Minimum time to end a stream, so that its status can be sent."""
MIN_AGE_SHARE = 0.9
"""Streams end at random ages from this share of the limit on, so that they do not all reconnect at
once.
"""


@dataclass(frozen=True)
class StreamLimits:
    """How long a stream may be idle, be open, and take to end: seconds, math.inf for no limit."""

    idle_timeout_s: float
    max_age_s: float
    drain_timeout_s: float

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """The limits in the settings."""
        return cls(
            config.stream_idle_timeout_s or math.inf,
            config.max_connection_age_s or math.inf,
            max(config.drain_timeout_s, MIN_DRAIN_S),
        )


class StreamLifetime:
    """Applies the limits to one stream.

    A stream is idle from its last result on while it has no unanswered item. It is also idle while
    its caller does not read the message being sent. Not thread-safe.
    """

    def __init__(self, limits: StreamLimits, now_s: float) -> None:
        self._limits = limits
        self._max_age_at_s = now_s + limits.max_age_s * random.uniform(MIN_AGE_SHARE, 1.0)
        self._idle_since_s = now_s
        self._sending_since_s = math.inf
        self._abort_at_s = math.inf

    @property
    def is_sending(self) -> bool:
        """Whether a message is being sent."""
        return self._sending_since_s < math.inf

    def sending(self, now_s: float) -> None:
        """Note that gRPC begins to send a message."""
        self._sending_since_s = now_s

    def sent(self, now_s: float) -> None:
        """Note that gRPC has sent the message."""
        self._idle_since_s = now_s
        self._sending_since_s = math.inf

    def must_abort(self, now_s: float) -> bool:
        """Whether the stream must end without waiting for its caller any longer."""
        sending_s = now_s - self._sending_since_s
        return sending_s >= self._limits.idle_timeout_s or now_s >= self._abort_at_s

    def end_error(self, now_s: float, *, answered: bool) -> RequestError | None:
        """The error with which the stream must end; None while it may go on.

        `answered` says that every item has its answer.
        """
        limits = self._limits
        if now_s >= self._max_age_at_s:
            error = _draining("has reached its maximum age", "max_age_s", limits.max_age_s)
        elif answered and now_s - self._idle_since_s >= limits.idle_timeout_s:
            error = _draining("was idle", "idle_timeout_s", limits.idle_timeout_s)
        else:
            return None
        self._abort_at_s = min(self._abort_at_s, now_s + limits.drain_timeout_s)
        return error

    def next_check_s(self, now_s: float, *, answered: bool) -> float:
        """The earliest instant at which a limit may be reached."""
        if self._abort_at_s < math.inf:
            return self._abort_at_s
        idle_since_s = now_s
        if self.is_sending:
            idle_since_s = self._sending_since_s
        elif answered:
            idle_since_s = self._idle_since_s
        return min(self._max_age_at_s, idle_since_s + self._limits.idle_timeout_s)


def _draining(problem: str, limit: str, limit_s: float) -> RequestError:
    message = f"the stream {problem}"
    return RequestError(Reason.DRAINING, message, metadata={limit: f"{limit_s:g}"})
