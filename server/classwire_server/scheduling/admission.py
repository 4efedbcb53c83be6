"""How fast the engine works, and when those whom it can't serve are to come back.

Pure, as scheduling is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from classwire.contract.reasons import Reason
from classwire_server.aggregates import DecayingSum
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError

from .batch import Priority

REMEMBERED = 0.9
"""What a measurement counts when the next one has come: the drain rate follows within ten."""
SIZES_REMEMBERED = 0.99
"""The same for the sizes of texts, which scatter more than the drain rate."""
UNKNOWN_WAIT_S = 1.0
"""When to come back before there is any measurement."""


@dataclass
class _Sizes:
    """How many tokens texts have on average; 0 before any."""

    texts: float = 0.0
    tokens: float = 0.0

    def add(self, texts: int, tokens: int) -> None:
        self.texts = SIZES_REMEMBERED * self.texts + texts
        self.tokens = SIZES_REMEMBERED * self.tokens + tokens

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.texts if self.texts else 0.0


class Admission:
    """Refuses what the measured drain rate can't answer in time.

    Not safe for use by several threads.
    """

    def __init__(self, lanes: int, batch_tokens: int, cost: LatencyProfile) -> None:
        self._lanes = lanes
        self._cost = cost
        self._batch_tokens = batch_tokens
        self._tokens = 0.0  # of the lanes
        self._beside_tokens = 0.0
        self._new_beside_tokens = 0  # whose time is measured when the lanes' batch ends
        self._seconds = 0.0
        self._refused_tokens = DecayingSum()
        self._of_calls = _Sizes()
        self._of_passes = _Sizes()

    @property
    def tokens_per_s(self) -> float:
        """The measured drain rate of all lanes together; 0 before any measurement."""
        tokens = self._tokens + self._beside_tokens
        return tokens / self._seconds if self._seconds else 0.0

    @property
    def text_tokens(self) -> int:
        """How many tokens a text of a call has on average; of any that was computed before there
        was a call, 1 before that.
        """
        return math.ceil(self._of_calls.mean_tokens or self._of_passes.mean_tokens or 1)

    def called(self, texts: int, tokens: int) -> None:
        """Learn that a call has so many texts of so many tokens together, whether it is let in or
        not: short ones are let in more often.
        """
        self._of_calls.add(texts, tokens)

    def computed(self, texts: int, tokens: int) -> None:
        """Learn that a pass had so many texts of so many tokens together."""
        self._of_passes.add(texts, tokens)

    def measured(self, tokens: int, seconds: float) -> None:
        """Learn that all lanes together take so long for so many tokens."""
        self._tokens = REMEMBERED * self._tokens + tokens
        self._beside_tokens = REMEMBERED * self._beside_tokens + self._new_beside_tokens
        self._new_beside_tokens = 0
        self._seconds = REMEMBERED * self._seconds + max(seconds, 1e-6)

    def measured_beside(self, tokens: int) -> None:
        """Learn that so many tokens were computed in time that the lanes take as well."""
        self._new_beside_tokens += tokens

    def wait_s(self, tokens: int) -> float:
        """How long all lanes together need for so many tokens; 0 before any measurement."""
        return tokens / self.tokens_per_s if self.tokens_per_s else 0.0

    def lane_s(self, tokens: int, priority: Priority) -> float:
        """How long one lane needs for so many tokens of this priority; 0 before any measurement.

        A small pass takes longer than its share of a large one does.
        """
        rate = self._tokens_per_s(priority)
        return max(self._lanes * tokens / rate, self._cost.seconds_of(tokens)) if rate else 0.0

    def lane_tokens(self, seconds: float, priority: Priority) -> float:
        """How many tokens of this priority one lane computes within a time; math.inf before any
        measurement.
        """
        rate = self._tokens_per_s(priority)
        return seconds * rate / self._lanes if rate else math.inf

    def finish_s(
        self,
        priority: Priority,
        sizes_tokens: Sequence[int],
        running_tokens: int,
        waiting_tokens: int,
    ) -> float:
        """How long a call with texts of these sizes takes behind so many tokens.

        Behind a long queue there is to be time for two whole batches: texts that reach its head
        with less go in small ones, which is slower for all, and so would keep itself up.
        """
        its_s = max(self.lane_s(max(sizes_tokens), priority), self.wait_s(sum(sizes_tokens)))
        two_batches_s = 2 * self.lane_s(self._batch_tokens, priority)
        spare_s = min(self.wait_s(waiting_tokens), two_batches_s)
        return self.wait_s(running_tokens + waiting_tokens) + max(its_s, spare_s)

    def refuse(self, tokens: int, queue_tokens: int, now_s: float, why: str) -> RequestError:
        """What a caller with so many tokens hears who is refused while others wait.

        The time to come back is that which the engine needs for all that wait and all that were
        refused of late, and will come back too: at ten times the capacity it is ten times that of
        the queue, so that those who keep to it are as many as can be served.
        """
        refused_tokens = math.ceil(self._refused_tokens.add(tokens, now_s))
        wait_s = self.wait_s(queue_tokens + refused_tokens) or UNKNOWN_WAIT_S
        return RequestError(
            Reason.OVERLOADED,
            why,
            metadata={"queue_tokens": str(queue_tokens)},
            retry_after_s=max(0.001, wait_s),
        )

    def _tokens_per_s(self, priority: Priority) -> float:
        """The drain rate for work of this priority: bulk work stands still for what goes beside it,
        interactive work never does.
        """
        if priority is Priority.INTERACTIVE or not self._seconds:
            return self.tokens_per_s
        return self._tokens / self._seconds
