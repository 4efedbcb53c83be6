"""Connections for batches, and since when each is computed. Pure: the clock is passed in."""

import math
from collections.abc import Iterable

from .protocol import Link


class Lanes:
    """Connections of a worker, which computes the batches on `number` of them at the same time.

    `free` are those that carry no batch. Not safe for use by several threads: its owner holds a
    lock around each call.
    """

    def __init__(self, links: Iterable[Link], number: int) -> None:
        self.free = list(links)
        self._number = number
        self._began_s: dict[Link, float] = {}  # in the order of sending; inf: lies ready

    @property
    def oldest_s(self) -> float:
        """The instant at which what has been computed for longest was begun; math.inf for nothing.

        A batch that lies ready has not begun: its turn comes with the next answer, so that one that
        waits for a long batch is not taken for one that hangs.
        """
        return min(self._began_s.values(), default=math.inf)

    def take(self, now_s: float) -> Link:
        """A free connection, for a batch that is sent now."""
        link = self.free.pop()
        self._began_s[link] = now_s if len(self._began_s) < self._number else math.inf
        return link

    def give(self, link: Link, now_s: float) -> None:
        """Free a connection: its batch has ended."""
        del self._began_s[link]
        ready = [other for other, began_s in self._began_s.items() if math.isinf(began_s)]
        for other in ready[:1]:
            self._began_s[other] = now_s
        self.free.append(link)
