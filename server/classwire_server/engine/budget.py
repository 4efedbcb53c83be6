"""What passes cost, measured at start."""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from classwire_server.pass_cost import NEAR_ENOUGH, PassCost

FIRST_TOKENS = 16
LAST_TOKENS = 16_384
WANTED_TOKENS = 128
PATIENCE_S = 1.5
"""No larger pass is tried once those tried take so long together: four times as long, to come to
WANTED_TOKENS.
"""


def measure_cost(
    run: Callable[[int], object],
    last_tokens: int = LAST_TOKENS,
    *,
    is_shared: bool = True,
    clock_s: Callable[[], float] = time.perf_counter,
) -> PassCost:
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
    return PassCost(tuple(seconds), _rising(better_s), is_shared)


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
