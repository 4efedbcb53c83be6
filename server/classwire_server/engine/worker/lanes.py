"""A worker's connections for batches, and when each batch began. Pure: the clock is passed in."""

import math
from collections.abc import Iterable

from .protocol import Link


class Lanes:
    """The connections of a worker that computes `number` batches at the same time.

    `free` are the connections without a batch. Not thread-safe: the owner holds a lock around each
    call.
    """

    def __init__(self, links: Iterable[Link], number: int) -> None:
        self.free = list(links)
        self._number = number
        self._began_s: dict[Link, float] = {}  # in the order of sending; inf: waits for a lane

    @property
    def oldest_s(self) -> float:
        """The earliest start of a running batch; math.inf if none runs.

        A batch that waits for a lane has not begun: it begins with the next answer. So a batch
        behind a long one does not count as hung.
        """
        return min(self._began_s.values(), default=math.inf)

    def take(self, now_s: float) -> Link:
        """Take a free connection for a batch that is sent now."""
        link = self.free.pop()
        self._began_s[link] = now_s if len(self._began_s) < self._number else math.inf
        return link

    def give(self, link: Link, now_s: float) -> None:
        """Free a connection whose batch has ended."""
        del self._began_s[link]
        waiting = [other for other, began_s in self._began_s.items() if math.isinf(began_s)]
        for other in waiting[:1]:
            self._began_s[other] = now_s
        self.free.append(link)
