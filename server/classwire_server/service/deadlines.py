"""The deadlines of calls, before a thread serves them."""

import math
import time
from collections.abc import Sequence
from typing import Any

ENDS_LATE_CALLS = "ends_late_calls"
"""The attribute of behaviors that end a call without time left before they do anything else."""


def time_left_s(submitted: Sequence[Any]) -> float:
    """How much time a call has left of which grpcio submits this, if its behavior ends late calls;
    math.inf for all others, and where the call has no deadline.

    grpcio shows a deadline on the thread that serves the call; here its inner parts have to tell.
    Where they do not, no call is late: an exception would end the thread that brings calls.
    """
    if len(submitted) < 4 or not getattr(submitted[3], ENDS_LATE_CALLS, False):
        return math.inf
    details = getattr(submitted[1], "call_details", None)
    deadline_s: float = getattr(details, "deadline", math.inf)  # by the clock on the wall
    return deadline_s - time.time()
