"""What passes cost, measured at start."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

LEAST_BATCH_TOKENS = 64
"""No batch is smaller: what the server itself does for one is not in the cost of a pass."""
NEAR_ENOUGH = 0.95
"""Share of the best rate that a smaller batch, which others wait less for, must reach."""


@dataclass(frozen=True)
class LatencyProfile:
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


FIRST_TOKENS = 16
LAST_TOKENS = 16_384
WANTED_TOKENS = 128
PATIENCE_S = 1.5
"""No larger pass is tried once those tried take so long together: four times as long, to come to
WANTED_TOKENS.
"""


def measure_profile(
    run: Callable[[int], object],
    last_tokens: int = LAST_TOKENS,
    *,
    is_shared: bool = True,
    clock_s: Callable[[], float] = time.perf_counter,
) -> LatencyProfile:
    """The times of passes of doubling size, the better of two runs each.

    `run` computes a pass of so many tokens. Ends at `last_tokens`, where two sizes in a row are
    slower, for each token, than a smaller one, or patience does. Other work on the machine can only
    make a pass slower: so the second runs come after all of the first, but for a pass that would
    end it all, which is tried again at once; and a pass is no slower than any larger one.
    """

    def time_s(tokens: int) -> float:
        began_s = clock_s()
        run(tokens)
        return clock_s() - began_s

    seconds: dict[int, float] = {}
    tokens = FIRST_TOKENS
    while tokens <= last_tokens or not seconds:
        seconds[tokens] = time_s(tokens)
        if _is_enough(seconds):
            seconds[tokens] = min(seconds[tokens], time_s(tokens))
            if _is_enough(seconds):
                break
        tokens *= 2
    better_s = [min(first_s, time_s(tokens)) for tokens, first_s in seconds.items()]
    return LatencyProfile(tuple(seconds), _rising(better_s), is_shared)


def _is_enough(seconds: Mapping[int, float]) -> bool:
    """Whether no larger pass is worth a try, by the times of those tried, the smallest first."""
    times_s = _rising(seconds.values())
    token_s = [time_s / tokens for tokens, time_s in zip(seconds, times_s, strict=True)]
    is_past_best = NEAR_ENOUGH * min(token_s[-2:]) > min(token_s)
    patience_s = PATIENCE_S if max(seconds) >= WANTED_TOKENS else 4 * PATIENCE_S
    return is_past_best or sum(times_s) > patience_s


def _rising(times_s: Iterable[float]) -> tuple[float, ...]:
    """Times of passes, the smallest first: each no longer than any that follows."""
    return tuple(accumulate(reversed(list(times_s)), min))[::-1]
