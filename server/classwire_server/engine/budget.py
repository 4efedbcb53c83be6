"""What passes cost, measured at start."""

import time
from collections.abc import Callable

from ..pass_cost import NEAR_ENOUGH, PassCost

FIRST_TOKENS = 16
LAST_TOKENS = 16_384
PATIENCE_S = 1.5
"""No larger pass is tried after so long."""


def measure_cost(
    run: Callable[[int], object],
    last_tokens: int = LAST_TOKENS,
    clock_s: Callable[[], float] = time.perf_counter,
) -> PassCost:
    """The times of passes of doubling size, the better of two runs each.

    `run` computes a pass of so many tokens. Ends at `last_tokens`, where two sizes in a row are
    slower, for each token, than a smaller one, or patience does. What disturbs the machine for a
    while hits one run of several sizes rather than both of one: the second runs come after all of
    the first.
    """

    def time_s(tokens: int) -> float:
        began_s = clock_s()
        run(tokens)
        return clock_s() - began_s

    seconds: dict[int, float] = {}
    best_s = float("inf")  # of a token
    slower = 0
    started_s = clock_s()
    tokens = FIRST_TOKENS
    while not seconds or (
        tokens <= last_tokens and slower < 2 and clock_s() - started_s <= PATIENCE_S
    ):
        seconds[tokens] = time_s(tokens)
        token_s = seconds[tokens] / tokens
        slower = slower + 1 if NEAR_ENOUGH * token_s > best_s else 0
        best_s = min(best_s, token_s)
        tokens *= 2
    better_s = [min(first_s, time_s(tokens)) for tokens, first_s in seconds.items()]
    return PassCost(tuple(seconds), tuple(better_s))
