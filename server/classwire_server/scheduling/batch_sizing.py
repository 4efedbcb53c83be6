"""How many queued tokens go into the next batch."""

import math
from collections.abc import Sequence

from classwire_server.engine.latency_profile import LatencyProfile

from .admission import Admission
from .batch import Pending, Priority

SHARE_TOKENS = 128
"""The scheduler splits work among idle lanes down to this size: a smaller pass takes as long, since
it waits for the weights to come from memory.
"""
MAX_FILLED_RATIO = 4.0
"""Largest filled interactive pass, as a multiple of the time of the smallest pass: the next
interactive text waits for it.
"""
MAX_LATENCY_RATIO = 5.5
"""Largest time from queueing to the end of a filled interactive pass, in the same unit."""
EFFICIENT_SHARE = 0.85
"""Share of the best rate at which a pass needs no more filling."""
SLACK_SHARE = 0.7
"""Share of the first text's remaining time that its batch may take, by the measured drain rate.
Smaller values make batches smaller and slower; larger ones make texts late after a slow pass.
"""
YIELDING_BATCH_S = 0.5
"""Longest batch that yields to interactive traffic, without the urgent batches that preempt it."""
TRAFFIC_S = 10.0
"""How long after an interactive text there is interactive traffic."""


class BatchSizing:
    """Chooses the sizes of batches by how fast the engine is.

    Not safe for use by several threads. An urgent batch has at most `urgent_tokens`.
    """

    def __init__(self, batch_tokens: int, profile: LatencyProfile, admission: Admission) -> None:
        self.batch_tokens = batch_tokens
        max_filled_s = MAX_FILLED_RATIO * profile.smallest_s
        self.urgent_tokens = min(batch_tokens, profile.tokens_within(max_filled_s))
        self._enough_tokens = profile.tokens_at(EFFICIENT_SHARE) if profile.is_shared else 0
        self._profile = profile
        self._admission = admission
        self._last_interactive_s = -math.inf

    def is_large(self, texts: Sequence[Pending]) -> bool:
        """Whether these texts of a call are interactive and do not fit into one full batch. A text
        that does not fit alone is not large: it cannot be split.
        """
        return (
            len(texts) > 1
            and texts[0].priority is Priority.INTERACTIVE
            and sum(text.tokens for text in texts) > self.batch_tokens
        )

    def arrived(self, priority: Priority, now_s: float) -> None:
        """Record the arrival of a text."""
        if priority is Priority.INTERACTIVE:
            self._last_interactive_s = now_s

    def fill_tokens(self, waited_s: float, slack_s: float) -> tuple[int, int]:
        """The size at which an interactive batch needs no more filling, and the largest allowed.

        `waited_s` is how long its oldest text has waited, `slack_s` the time that its first text
        has left.
        """
        left_s = min(MAX_LATENCY_RATIO * self._profile.smallest_s - waited_s, slack_s / 2)
        most_tokens = min(self.urgent_tokens, self._profile.tokens_within(left_s))
        return self._enough_tokens, most_tokens

    def budget_tokens(
        self, priority: Priority, share_tokens: int, slack_s: float, now_s: float
    ) -> int:
        """Tokens of the next batch: a lane's share of the queue, at most the engine's best size.

        The batch is smaller if the first text, which has `slack_s` left, would be late otherwise.
        Interactive traffic limits batches that yield to it, but never below SHARE_TOKENS: smaller
        batches slow the engine, and so would shrink further.
        """
        bounds = [
            self.batch_tokens,
            max(SHARE_TOKENS, share_tokens),
            self._admission.lane_tokens(SLACK_SHARE * slack_s, priority),
        ]
        if priority.yields and now_s - self._last_interactive_s < TRAFFIC_S:
            # The interactive rate: the batch's time without what preempts it.
            short_tokens = self._admission.lane_tokens(YIELDING_BATCH_S, Priority.INTERACTIVE)
            bounds.append(max(SHARE_TOKENS, short_tokens))
        return int(min(bounds))
