"""How long forward passes take by their number of tokens, measured at start."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

LEAST_BATCH_TOKENS = 64
"""Smallest full batch: the profile leaves out the server's own work for each batch."""
NEAR_ENOUGH = 0.95
"""Share of the best rate that a smaller batch must reach: other texts wait less for it."""


@dataclass(frozen=True)
class LatencyProfile:
    """The times of passes: a pass of `tokens[i]` tokens takes `seconds[i]`.

    Both rise. Times between two measured sizes are interpolated linearly. `is_shared` says whether
    texts of any lengths can share a pass. For use by any thread.
    """

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    is_shared: bool = True

    @property
    def smallest_s(self) -> float:
        """The time of the smallest pass: about that of a short text alone."""
        return self.seconds[0]

    @property
    def tokens_per_s(self) -> tuple[float, ...]:
        """The rate of each measured pass."""
        return tuple(n / max(s, 1e-9) for n, s in zip(self.tokens, self.seconds, strict=True))

    @property
    def best_tokens(self) -> int:
        """The smallest batch with at least NEAR_ENOUGH of the best rate of any batch."""
        rates = zip(self.tokens, self.tokens_per_s, strict=True)
        batches = [(tokens, rate) for tokens, rate in rates if tokens >= LEAST_BATCH_TOKENS]
        least = NEAR_ENOUGH * max((rate for _, rate in batches), default=0.0)
        return next((tokens for tokens, rate in batches if rate >= least), LEAST_BATCH_TOKENS)

    def seconds_of(self, tokens: int) -> float:
        """The time of a pass. A pass larger than all measured counts as the largest."""
        return _interpolated(tokens, self.tokens, self.seconds)

    def tokens_within(self, seconds: float) -> int:
        """The tokens of the largest pass within a time, at least those of the smallest measured."""
        return int(_interpolated(seconds, self.seconds, self.tokens))

    def tokens_at(self, share: float) -> int:
        """The tokens of the smallest pass that reaches this share of the best rate."""
        tokens = np.arange(self.tokens[0], self.tokens[-1] + 1)
        rates = tokens / np.maximum(np.interp(tokens, self.tokens, self.seconds), 1e-9)
        return int(tokens[np.argmax(rates >= share * rates.max())])


def _interpolated(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The value at x between points, x rising; the first or last value outside of them.

    np.interp is slow for one number, and every call needs two.
    """
    above = bisect_right(xs, x)
    if above in (0, len(xs)):
        return ys[max(above - 1, 0)]
    x0, x1, y0, y1 = xs[above - 1], xs[above], ys[above - 1], ys[above]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


FIRST_TOKENS = 16
LAST_TOKENS = 16_384
WANTED_TOKENS = 128
ENOUGH_TOKENS = 4 * LEAST_BATCH_TOKENS
"""The measurement goes on to this size though larger passes gain nothing."""
PATIENCE_S = 1.5
"""Total time of the measured passes after which no larger one is tried. Four times as much until
WANTED_TOKENS are reached.
"""


def measure_profile(
    run: Callable[[int], object],
    last_tokens: int = LAST_TOKENS,
    *,
    is_shared: bool = True,
    clock_s: Callable[[], float] = time.perf_counter,
) -> LatencyProfile:
    """Measure passes of doubling size, and keep the better of two runs each.

    `run` computes a pass of the given number of tokens. The measurement ends at `last_tokens`,
    after PATIENCE_S, or when neither of the last two sizes is much faster per token than a smaller
    one. Other work on the machine can only make a pass slower. The second runs therefore come after
    all first runs, a pass that would end the measurement is repeated at once, and no pass counts as
    slower than a larger one.
    """

    def time_s(tokens: int) -> float:
        began_s = clock_s()
        run(tokens)
        return clock_s() - began_s

    seconds: dict[int, float] = {}
    repeated: set[int] = set()
    tokens = FIRST_TOKENS
    while tokens <= last_tokens or not seconds:
        seconds[tokens] = time_s(tokens)
        if _is_enough(seconds):
            seconds[tokens] = min(seconds[tokens], time_s(tokens))
            repeated.add(tokens)
            if _is_enough(seconds):
                break
        tokens *= 2
    for tokens, first_s in seconds.items():
        if tokens not in repeated:
            seconds[tokens] = min(first_s, time_s(tokens))
    return LatencyProfile(tuple(seconds), _rising(seconds.values()), is_shared)


def _is_enough(seconds: Mapping[int, float]) -> bool:
    """Whether to try no larger pass. `seconds` maps tokens to time, the smallest pass first."""
    largest, times_s = max(seconds), _rising(seconds.values())
    token_s = [time_s / tokens for tokens, time_s in zip(seconds, times_s, strict=True)]
    if largest >= ENOUGH_TOKENS and min(token_s[-2:]) > NEAR_ENOUGH * min(token_s[:-2]):
        return True
    return sum(times_s) > (PATIENCE_S if largest >= WANTED_TOKENS else 4 * PATIENCE_S)


def _rising(times_s: Iterable[float]) -> tuple[float, ...]:
    """The times, smallest pass first, each lowered to the least of those that follow."""
    return tuple(accumulate(reversed(list(times_s)), min))[::-1]
