"""How much of what waits goes in the next batch. Pure, as scheduling is."""

import math

from classwire_server.engine.latency_profile import LatencyProfile

from .admission import Admission
from .batch import Priority

SHARE_TOKENS = 128
"""Work is shared among idle lanes down to this: a pass over fewer tokens costs as much, since it
waits for the weights to come from memory.
"""
FILLED_TIMES = 4.0
"""A pass of interactive work that is filled up takes at most so many times the smallest: whoever
comes next waits for it.
"""
WAITED_TIMES = 5.5
"""And no longer than so many times the smallest, less what one of its texts has waited already."""
EFFICIENT = 0.85
"""Share of the best rate at which a pass is filled enough."""
SLACK_SHARE = 0.7
"""Of the time that the first text has left its batch may take so much, by the measured drain rate.
Less means smaller batches, which are slower; more makes texts late where one pass takes longer.
"""
BULK_BATCH_S = 0.5
"""How much work a bulk batch may be while there is interactive traffic; what overtakes it comes on
top.
"""
TRAFFIC_S = 10.0
"""How long after an interactive text there is interactive traffic."""


class BatchSizing:
    """Sizes of batches, by how fast the engine is.

    Not safe for use by several threads.
    """

    def __init__(self, batch_tokens: int, profile: LatencyProfile, admission: Admission) -> None:
        self.batch_tokens = batch_tokens
        longest_s = FILLED_TIMES * profile.smallest_s
        self.urgent_tokens = min(batch_tokens, profile.tokens_within(longest_s))
        """The size of a batch beside the lanes."""
        self._enough_tokens = profile.tokens_at(EFFICIENT) if profile.is_shared else 0
        self._profile = profile
        self._admission = admission
        self._interactive_s = -math.inf  # when the last interactive text came

    def came(self, priority: Priority, now_s: float) -> None:
        """Learn that a text of this priority came."""
        if priority is Priority.INTERACTIVE:
            self._interactive_s = now_s

    def fill_tokens(self, waited_s: float, slack_s: float) -> tuple[int, int]:
        """How far bulk work fills a batch of interactive work, one of whose texts has waited, and
        one has left, so much time: until it has enough tokens, but never more than the most.
        """
        left_s = min(WAITED_TIMES * self._profile.smallest_s - waited_s, slack_s / 2)
        return self._enough_tokens, min(self.urgent_tokens, self._profile.tokens_within(left_s))

    def budget_tokens(
        self, priority: Priority, share_tokens: int, slack_s: float, now_s: float
    ) -> int:
        """Tokens of the next batch: a lane's share of what waits, and no more than what is best.

        Less when the first text, which has so much time left, would be late otherwise, or
        interactive traffic kept waiting for long; for its sake never less than is worth a pass:
        that would make the engine slower, and the next batch smaller still.
        """
        bounds = [
            self.batch_tokens,
            max(SHARE_TOKENS, share_tokens),
            self._admission.lane_tokens(SLACK_SHARE * slack_s, priority),
        ]
        if priority is Priority.BULK and now_s - self._interactive_s < TRAFFIC_S:
            # As much as if nothing overtook it.
            bulk_tokens = self._admission.lane_tokens(BULK_BATCH_S, Priority.INTERACTIVE)
            bounds.append(max(SHARE_TOKENS, bulk_tokens))
        return int(min(bounds))
