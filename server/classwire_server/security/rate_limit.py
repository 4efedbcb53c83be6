"""Limits a caller's rate. Pure: callers pass in the time, in seconds of the monotonic clock."""

import math
import threading

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError

BURST_S = 1.0
"""After a pause, a caller may send the tokens of this many seconds at once."""


class Rate:
    """A rate limit in text tokens per second. A caller pays for a large call by waiting after it.

    So a call of any size is possible, but the next one must wait. Safe for use by any thread.
    """

    def __init__(self, tokens_per_s: float = math.inf) -> None:
        self.tokens_per_s = tokens_per_s
        self._paid_s = -math.inf  # when the debt is paid
        self._lock = threading.Lock()  # guards both

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next text may come."""
        return max(0.0, self._paid_s - now_s)

    def change(self, tokens_per_s: float, now_s: float) -> None:
        """Change the rate. The debt, in tokens, stays the same."""
        with self._lock:
            if wait_s := self.wait_s(now_s):
                self._paid_s = now_s + wait_s * self.tokens_per_s / tokens_per_s
            self.tokens_per_s = tokens_per_s

    def take(self, tokens: int, now_s: float) -> None:
        """Charge tokens without a check."""
        with self._lock:
            self._take(tokens, now_s)

    def check(self, now_s: float) -> None:
        """Raise RequestError RATE_LIMITED if the next text must wait."""
        self.charge(0, now_s)

    def charge(self, tokens: int, now_s: float) -> None:
        """Charge tokens if the next text need not wait.

        Raises RequestError RATE_LIMITED, without a charge, if it must. So only one of several
        concurrent calls can overdraw the rate.
        """
        with self._lock:
            wait_s = self.wait_s(now_s)
            if not wait_s:
                self._take(tokens, now_s)
                return
        raise RequestError(
            Reason.RATE_LIMITED,
            "the caller is over its rate",
            metadata={"text_tokens_per_s": f"{self.tokens_per_s:g}"},
            retry_after_s=wait_s,
        )

    def _take(self, tokens: int, now_s: float) -> None:
        since_s = max(self._paid_s, now_s - BURST_S)
        self._paid_s = since_s + tokens / self.tokens_per_s
