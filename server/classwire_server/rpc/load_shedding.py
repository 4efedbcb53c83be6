"""Which calls the server sheds before it reads them: a controller on queue delay. Pure.

The delay of a call is measured against the time that it has left when it begins, since callers
differ in their deadlines. Late calls shorten the queue. Where no queue is short enough, since calls
wait before the server sees them, nearly all are shed: after CoDel (Nichols and Jacobson,
"Controlling Queue Delay", 2012), once the least delay of an interval was too long.
"""

import math

MAX_DELAY = 0.25
"""The delay that a call may have had when it begins, as a share of the time that it has left."""
DECREASE = 0.9
"""What a late call leaves of the queue's bound. A call in time adds one to it."""
MIN_WAITING = 1 / 16
"""The least bound, in calls for each thread: a thread that becomes free is to find a call."""
INTERVAL_S = 0.5
"""The server sheds nearly all calls once none has begun in time for so long."""
PROBE_S = 0.02
"""It still admits one call in so long then: that call shows when it is over."""


class LoadShedding:
    """Bounds the queue before a number of threads. Instants are those of the monotonic clock. Not
    thread-safe.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.is_shedding = False
        self._max_waiting = max_waiting
        self._min_waiting = min(math.ceil(MIN_WAITING * threads), max_waiting)
        self._bound = float(max_waiting)
        self._late_since_s = 0.0
        self._late_s = 0.0  # when the last late call began
        self._probe_s = 0.0

    def admits(self, waiting: int, now_s: float) -> bool:
        """Whether a call that comes now is admitted, while so many wait."""
        if waiting >= self._bound:
            return False
        if self.is_shedding and now_s - self._late_s > INTERVAL_S:
            self.is_shedding = False  # hardly any call comes
        if not self.is_shedding:
            return True
        if now_s - self._probe_s < PROBE_S:
            return False
        self._probe_s = now_s
        return True

    def begins(self, delay_s: float, left_s: float, now_s: float) -> None:
        """A call begins now, after a delay, with so much time left: none where its caller has gone,
        or the time is less than its answer needs.
        """
        if left_s > 0 and delay_s <= MAX_DELAY * left_s:
            self._bound = min(self._max_waiting, self._bound + 1)
            self.is_shedding, self._late_s = False, 0.0
            return
        self._bound = max(self._min_waiting, DECREASE * self._bound)
        if now_s - self._late_s > INTERVAL_S:
            self._late_since_s = now_s
        self._late_s = now_s
        if now_s - self._late_since_s >= INTERVAL_S:
            self.is_shedding = True
