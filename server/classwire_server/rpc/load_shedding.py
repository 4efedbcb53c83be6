"""The deadlines of calls, before a thread serves them."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from classwire_server.errors import RequestError, expired_in_queue
from classwire_server.scheduling.admission import LatencyFloor

logger = logging.getLogger(__name__)

NEED = "need"
"""The attribute of behaviors that end a call before they do anything else when it has no time, or
less than it needs: a function that says what one needs that has so much time left, if anything.
"""

ASKS_FIRST = "asks_first"
"""The attribute of behaviors that ask who calls before they end a call."""


class Haste(NamedTuple):
    """How much time a call has left, in seconds, and what it needs, if anything."""

    left_s: float
    need: LatencyFloor | None

    @property
    def spare_s(self) -> float:
        """How much more time it has than it needs."""
        return self.left_s - self.need.least_s if self.need is not None else self.left_s

    def error(self) -> RequestError | None:
        """With what the call is to end; None where it has enough time."""
        if self.left_s <= 0:
            return expired_in_queue()
        return self.need.refuse() if self.need is not None and self.spare_s < 0 else None

    @staticmethod
    def now(left_s: float, need: Callable[[float], LatencyFloor | None]) -> "Haste":
        """The haste of a call with so much time left, of a kind that needs this."""
        if left_s <= 0:
            return Haste(left_s, None)
        try:
            return Haste(left_s, need(left_s))
        except Exception:  # it would end the thread that brings calls, and so the server
            logger.exception("what a call needs can't be told")
            return Haste(left_s, None)

    @staticmethod
    def of(submitted: Sequence[Any]) -> "Haste":
        """The haste of a call of which grpcio submits this: none where its behavior ends no call,
        and where the call has no deadline.

        grpcio shows a deadline on the thread that serves the call; here its inner parts have to
        tell. Where they do not, no call is late: an exception would end the thread that brings
        calls.
        """
        if len(submitted) < 4:
            return _NONE
        need: Callable[[float], LatencyFloor | None] | None = getattr(submitted[3], NEED, None)
        details = getattr(submitted[1], "call_details", None)
        deadline_s: float = getattr(details, "deadline", math.inf)  # by the clock on the wall
        if need is None or deadline_s == math.inf:
            return _NONE
        return Haste.now(deadline_s - time.time(), need)


_NONE = Haste(math.inf, None)
