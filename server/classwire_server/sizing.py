"""How much of what waits goes in the next batch. Pure, as scheduling is."""

import math

from .admission import Admission
from .pending import Priority

SHARE_TOKENS = 128
"""Work is shared among idle lanes down to this: a pass over fewer tokens costs as much, since it
waits for the weights to come from memory.
"""
URGENT_TOKENS = 96
"""An urgent batch is filled up to this: its texts wait longer for it, and the engine does more."""
BULK_BATCH_S = 0.5
"""How long a bulk batch may take while there is interactive traffic."""
TRAFFIC_S = 10.0
"""How long after an interactive text there is interactive traffic."""


class Sizing:
    """Sizes of batches, by how fast the engine is.

    Not safe for use by several threads.
    """

    def __init__(self, batch_tokens: int, admission: Admission) -> None:
        self.batch_tokens = batch_tokens
        self._admission = admission
        self._interactive_s = -math.inf  # when the last interactive text came

    @property
    def urgent_tokens(self) -> int:
        """The size of a batch beside the lanes."""
        return min(URGENT_TOKENS, self.batch_tokens)

    def came(self, priority: Priority, now_s: float) -> None:
        """Learn that a text of this priority came."""
        if priority is Priority.INTERACTIVE:
            self._interactive_s = now_s

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
            self._admission.lane_tokens(slack_s / 2),
        ]
        if priority is Priority.BULK and now_s - self._interactive_s < TRAFFIC_S:
            bounds.append(max(SHARE_TOKENS, self._admission.lane_tokens(BULK_BATCH_S)))
        return int(min(bounds))
