"""What forward passes cost on a device, by the tokens in them. Pure."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

LEAST_BATCH_TOKENS = 64
"""No batch is smaller: what the server itself does for one is not in the cost of a pass."""
NEAR_ENOUGH = 0.95
"""Share of the best rate that a smaller batch, which others wait less for, must reach."""


@dataclass(frozen=True)
class PassCost:
    """The times of passes: `seconds[i]` of one of `tokens[i]`, the smallest first, none longer than
    that of a larger one.

    Between two of them the time is interpolated. `is_shared` is whether any texts make one pass
    together. For use by any thread.
    """

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    is_shared: bool = True

    @property
    def smallest_s(self) -> float:
        """The time of the smallest pass: about that of any text that is alone in its pass."""
        return self.seconds[0]

    @property
    def tokens_per_s(self) -> tuple[float, ...]:
        """The rate of each pass."""
        return tuple(n / max(s, 1e-9) for n, s in zip(self.tokens, self.seconds, strict=True))

    @property
    def best_tokens(self) -> int:
        """The smallest batch whose rate is near enough to the best of batches."""
        rates = zip(self.tokens, self.tokens_per_s, strict=True)
        batches = [(tokens, rate) for tokens, rate in rates if tokens >= LEAST_BATCH_TOKENS]
        least = NEAR_ENOUGH * max((rate for _, rate in batches), default=0.0)
        return next((tokens for tokens, rate in batches if rate >= least), LEAST_BATCH_TOKENS)

    def seconds_of(self, tokens: int) -> float:
        """The time of a pass; of one that is larger than all measured, that of the largest."""
        last = len(self.tokens) - 1  # not np.interp, which is slow for one number: each call asks
        above = bisect_left(self.tokens, tokens)
        if above == 0 or above > last:
            return self.seconds[min(above, last)]
        least, most = self.tokens[above - 1], self.tokens[above]
        least_s, most_s = self.seconds[above - 1], self.seconds[above]
        return least_s + (most_s - least_s) * (tokens - least) / (most - least)

    def tokens_within(self, seconds: float) -> int:
        """The largest pass within a time; of those measured the smallest where none is."""
        return int(np.interp(seconds, self.seconds, self.tokens))

    def tokens_at(self, share: float) -> int:
        """The smallest pass that has this share of the best rate."""
        tokens = np.arange(self.tokens[0], self.tokens[-1] + 1)
        rates = tokens / np.maximum(np.interp(tokens, self.tokens, self.seconds), 1e-9)
        return int(tokens[np.argmax(rates >= share * rates.max())])
