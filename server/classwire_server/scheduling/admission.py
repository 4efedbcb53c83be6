"""The engine's measured drain rate: which calls it can finish in time, and when others retry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from classwire.contract.reasons import Reason
from classwire_server.aggregates import DecayingSum
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError

from .batch import Priority

RATE_DECAY = 0.9
"""Weight that the older measurements of the drain rate keep with each new one."""
SIZE_DECAY = 0.99
"""The same for the sizes of texts, which vary more than the drain rate."""
TOO_LATE = "the time limit can't be met"
"""The message of calls that would be late."""
UNKNOWN_WAIT_S = 1.0
"""Retry delay before the first measurement."""


@dataclass
class _MeanSize:
    """Decaying mean of tokens per text; 0 before the first text."""

    texts: float = 0.0
    tokens: float = 0.0

    def add(self, texts: int, tokens: int) -> None:
        self.texts = SIZE_DECAY * self.texts + texts
        self.tokens = SIZE_DECAY * self.tokens + tokens

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.texts if self.texts else 0.0


class Admission:
    """Estimates from the measured drain rate when work finishes, and rejects what would be late.

    Not safe for use by several threads.
    """

    def __init__(self, lanes: int, batch_tokens: int, profile: LatencyProfile) -> None:
        self._lanes = lanes
        self._profile = profile
        self._batch_tokens = batch_tokens
        self._lane_tokens = 0.0
        self._urgent_tokens = 0.0
        self._new_urgent_tokens = 0  # since the last measurement of the lanes
        self._seconds = 0.0
        self._rejected_tokens = DecayingSum()
        self._call_size = _MeanSize()
        self._pass_size = _MeanSize()

    @property
    def tokens_per_s(self) -> float:
        """The measured drain rate of all lanes together; 0 before any measurement."""
        tokens = self._lane_tokens + self._urgent_tokens
        return tokens / self._seconds if self._seconds else 0.0

    @property
    def text_tokens(self) -> int:
        """Mean tokens of a text in recent calls; before the first call of a text in recent passes,
        and 1 before both.
        """
        return math.ceil(self._call_size.mean_tokens or self._pass_size.mean_tokens or 1)

    def called(self, texts: int, tokens: int) -> None:
        """Record the size of a call, admitted or not: short calls are admitted more often."""
        self._call_size.add(texts, tokens)

    def computed(self, texts: int, tokens: int) -> None:
        """Record the size of a forward pass."""
        self._pass_size.add(texts, tokens)

    def measured(self, tokens: int, seconds: float) -> None:
        """Record that all lanes together took `seconds` for `tokens`."""
        self._lane_tokens = RATE_DECAY * self._lane_tokens + tokens
        self._urgent_tokens = RATE_DECAY * self._urgent_tokens + self._new_urgent_tokens
        self._new_urgent_tokens = 0
        self._seconds = RATE_DECAY * self._seconds + max(seconds, 1e-6)

    def measured_urgent(self, tokens: int) -> None:
        """Record tokens of an urgent batch. Its time is part of what the lanes measure."""
        self._new_urgent_tokens += tokens

    def wait_s(self, tokens: int) -> float:
        """How long all lanes together need for these tokens; 0 before any measurement."""
        return tokens / self.tokens_per_s if self.tokens_per_s else 0.0

    def lane_s(self, tokens: int, priority: Priority) -> float:
        """How long one lane needs for tokens of this priority; 0 before any measurement.

        Never less than the latency profile has for a pass of this size: small passes are slower
        per token.
        """
        rate = self._tokens_per_s(priority)
        return max(self._lanes * tokens / rate, self._profile.seconds_of(tokens)) if rate else 0.0

    def lane_tokens(self, seconds: float, priority: Priority) -> float:
        """Tokens of this priority that one lane computes in `seconds`; math.inf before any
        measurement.
        """
        rate = self._tokens_per_s(priority)
        return seconds * rate / self._lanes if rate else math.inf

    def finish_s(
        self,
        priority: Priority,
        sizes_tokens: Sequence[int],
        in_flight_tokens: int,
        waiting_tokens: int,
    ) -> float:
        """How long a call with texts of these sizes takes behind this work.

        Behind a long queue it includes time for two whole batches. Texts that reach the head of the
        queue with less go in small batches, which are slower for all and keep the queue long.
        """
        own_s = max(self.lane_s(max(sizes_tokens), priority), self.wait_s(sum(sizes_tokens)))
        two_batches_s = 2 * self.lane_s(self._batch_tokens, priority)
        spare_s = min(self.wait_s(waiting_tokens), two_batches_s)
        return self.wait_s(in_flight_tokens + waiting_tokens) + max(own_s, spare_s)

    def reject(self, tokens: int, queue_tokens: int, now_s: float, why: str) -> RequestError:
        """Count these tokens as rejected and return the caller's error, OVERLOADED.

        Its retry delay covers the queue and all recently rejected tokens, whose callers retry too.
        At ten times the capacity it is about ten times the queue's, so the retries fit.
        """
        rejected_tokens = math.ceil(self._rejected_tokens.add(tokens, now_s))
        wait_s = self.wait_s(queue_tokens + rejected_tokens) or UNKNOWN_WAIT_S
        return RequestError(
            Reason.OVERLOADED,
            why,
            metadata={"queue_tokens": str(queue_tokens)},
            retry_after_s=max(0.001, wait_s),
        )

    def _tokens_per_s(self, priority: Priority) -> float:
        """The drain rate for this priority. Urgent batches preempt work that yields, which gets
        only what the lanes compute.
        """
        if not priority.yields or not self._seconds:
            return self.tokens_per_s
        return self._lane_tokens / self._seconds
