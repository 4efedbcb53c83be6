"""Decides which calls the server sheds before it reads them, by their queue delay. Pure.

Callers differ in their deadlines, so a call is late when its delay is a large share of the time
that it has left. Late calls lower the bound of the queue. Calls also wait before the server sees
them, in gRPC, where the server can't shorten the queue. So while most calls begin late, the server
admits calls only in proportion to those that begin in time ("adaptive throttling", Site Reliability
Engineering, chapter 21).
"""

import math

from classwire_server.aggregates import DECAY_S, DecayingSum

MAX_DELAY = 0.25
"""Maximum delay of a call in time, as a share of the time that it has left when it begins."""
DECREASE = 0.9
"""Factor by which a late call lowers the bound of the queue. A call in time adds 1 to the bound."""
MIN_WAITING = 1 / 16
"""Minimum bound in calls per thread, so that a free thread finds a call."""
IN_PROPORTION = 3
"""Calls that the server admits per call that begins in time, while it sheds."""
PROBES = 50
"""Calls per second that the server admits on top of these: they show when to stop shedding. The
server starts to shed when more calls than IN_PROPORTION and PROBES allow have begun lately.
"""


class LoadShedding:
    """Bounds the queue of a thread pool. Instants are of the monotonic clock. Not thread-safe.

    `is_shedding` is whether most calls begin late. `in_time_per_s` is the recent rate of calls that
    began in time.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.is_shedding = False
        self.in_time_per_s = 0.0
        self._max_waiting = max_waiting
        self._min_waiting = min(math.ceil(MIN_WAITING * threads), max_waiting)
        self._bound = float(max_waiting)
        self._begun = DecayingSum()
        self._in_time = DecayingSum()
        self._admitted_s = 0.0  # when the server last admitted a call while it shed

    def admits(self, waiting: int, now_s: float) -> bool:
        """Whether the server admits a call that comes now, when `waiting` calls wait."""
        if waiting >= self._bound:
            return False
        in_time = self._in_time.add(0, now_s)
        self.in_time_per_s = in_time / DECAY_S
        in_proportion = IN_PROPORTION * in_time + PROBES
        self.is_shedding = self._begun.add(0, now_s) > in_proportion
        if self.is_shedding:
            if (now_s - self._admitted_s) * in_proportion < DECAY_S:
                return False
            self._admitted_s = now_s
        return True

    def begins(self, delay_s: float, left_s: float, now_s: float) -> None:
        """Count a call that begins now, after `delay_s`, with `left_s` seconds left.

        `left_s` is 0 when its caller has gone, or its answer needs more time than is left.
        """
        self._begun.add(1, now_s)
        if left_s > 0 and delay_s <= MAX_DELAY * left_s:
            self._in_time.add(1, now_s)
            self._bound = min(self._max_waiting, self._bound + 1)
        else:
            self._bound = max(self._min_waiting, DECREASE * self._bound)
