"""What a call needs that has not been looked at."""

from collections.abc import Callable
from typing import NamedTuple

from .errors import RequestError


class Need(NamedTuple):
    """How long a call takes at the least, in seconds.

    `refuse` makes what a call hears that has less time, and counts it as refused; on any thread.
    """

    least_s: float
    refuse: Callable[[], RequestError]
