"""Which calls the server sheds before it reads them: a controller on queue delay. Pure.

The delay of a call is measured against the time that it has left when it begins, since callers
differ in their deadlines. Late calls shorten the queue. Where no queue is short enough, since calls
wait before the server sees them, calls are admitted only in proportion to those that begin in time
("adaptive throttling", Site Reliability Engineering, chapter 21).
"""

import math

from classwire_server.aggregates import REMEMBERED_S, DecayingSum

MAX_DELAY = 0.25
"""The delay that a call may have had when it begins, as a share of the time that it has left."""
DECREASE = 0.9
"""What a late call leaves of the queue's bound. A call in time adds one to it."""
MIN_WAITING = 1 / 16
"""The least bound, in calls for each thread: a thread that becomes free is to find a call."""
IN_PROPORTION = 3
"""While the server sheds, it admits so many calls for each that begins in time."""
PROBES = 50
"""It admits so many more in a second, which show when it can stop. It sheds once more than that
begin late.
"""


class LoadShedding:
    """Bounds the queue before a number of threads. Instants are those of the monotonic clock. Not
    thread-safe.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.is_shedding = False
        self.in_time_per_s = 0.0  # calls that began in time, lately
        self._max_waiting = max_waiting
        self._min_waiting = min(math.ceil(MIN_WAITING * threads), max_waiting)
        self._bound = float(max_waiting)
        self._begun = DecayingSum()
        self._in_time = DecayingSum()
        self._admitted_s = 0.0  # when the last call was admitted while the server shed

    def admits(self, waiting: int, now_s: float) -> bool:
        """Whether a call that comes now is admitted, while so many wait."""
        if waiting >= self._bound:
            return False
        in_time = self._in_time.add(0, now_s)
        self.in_time_per_s = in_time / REMEMBERED_S
        in_proportion = IN_PROPORTION * in_time + PROBES
        self.is_shedding = self._begun.add(0, now_s) > in_proportion
        if self.is_shedding:
            if (now_s - self._admitted_s) * in_proportion < REMEMBERED_S:
                return False
            self._admitted_s = now_s
        return True

    def begins(self, delay_s: float, left_s: float, now_s: float) -> None:
        """A call begins now, after a delay, with so much time left: none where its caller has gone,
        or the time is less than its answer needs.
        """
        self._begun.add(1, now_s)
        if left_s > 0 and delay_s <= MAX_DELAY * left_s:
            self._in_time.add(1, now_s)
            self._bound = min(self._max_waiting, self._bound + 1)
        else:
            self._bound = max(self._min_waiting, DECREASE * self._bound)
