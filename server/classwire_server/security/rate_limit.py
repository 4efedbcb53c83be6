"""How much a caller may send. Pure: the clock is passed in, in seconds of the monotonic clock."""

import math
import threading

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError

BURST_S = 1.0
"""Who has sent nothing for a while may send as much at once as in so many seconds."""


class Rate:
    """Tokens of text per second: what is taken at once is paid for by waiting.

    So a call of any size can be made, and the next one later. Safe for use by any thread.
    """

    def __init__(self, tokens_per_s: float = math.inf) -> None:
        self.tokens_per_s = tokens_per_s
        self._paid_s = -math.inf  # when all that was taken is paid for
        self._lock = threading.Lock()  # guards both

    def wait_s(self, now_s: float) -> float:
        """How long until the next text may come."""
        return max(0.0, self._paid_s - now_s)

    def change(self, tokens_per_s: float, now_s: float) -> None:
        """From now on the rate is another; what was taken and is not paid for stays, in tokens."""
        with self._lock:
            if wait_s := self.wait_s(now_s):
                self._paid_s = now_s + wait_s * self.tokens_per_s / tokens_per_s
            self.tokens_per_s = tokens_per_s

    def take(self, tokens: int, now_s: float) -> None:
        """Texts of so many tokens have come."""
        with self._lock:
            self._take(tokens, now_s)

    def check(self, now_s: float) -> None:
        """Raises RequestError RATE_LIMITED while the next text must wait."""
        self.charge(0, now_s)

    def charge(self, tokens: int, now_s: float) -> None:
        """Take as `take` does, if nothing must wait: of calls that came together, and all found the
        rate free, one may be large.

        Raises RequestError RATE_LIMITED, and takes nothing, if something must.
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
