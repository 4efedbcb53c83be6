"""Calls that come too late, and what they say of those behind them. Pure."""

LATE_CALLS = 16
"""So many, and those behind them have waited for too long as well."""
IN_TIME_WEIGHT = 1 / 16
"""What a call in time takes from them: where fewer than one of so many are late, it is they who
had little time.
"""
LATE_S = 0.005
"""A call that is late by less may have had a few milliseconds from the first."""
PAUSE_S = 0.001
"""When no call has come for so long, hardly any is behind: it would have come at once."""


class Congestion:
    """Whether calls wait for so long, before the server gets to see them, that all are to be
    refused.

    One thread of gRPC's brings the calls, oldest first. When they come faster than it can bring
    them, all of them are as late as the line is long; when that is all the time that they have,
    whatever is done for them is in vain, and makes the line longer. Whoever refuses them unseen is
    many times as fast, and soon meets callers who have just come. Instants are those of the
    monotonic clock. Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._late_calls = 0.0
        self._brought_s = 0.0

    @property
    def is_there(self) -> bool:
        """Whether calls are to be refused."""
        return self._late_calls >= LATE_CALLS

    def comes(self, left_s: float) -> None:
        """A call that is brought has so much time left."""
        if left_s <= -LATE_S:
            self._late_calls += 1
        elif left_s > 0:
            self._late_calls = max(0.0, self._late_calls - IN_TIME_WEIGHT)

    def brings(self, now_s: float) -> None:
        """A call is brought now."""
        if now_s - self._brought_s > PAUSE_S:
            self._late_calls = 0.0

    def brought(self, now_s: float) -> None:
        """The thread that brings calls has left this one to others, or refused it."""
        self._brought_s = now_s
