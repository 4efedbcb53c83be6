"""How many tokens a batch should hold, from a curve that is measured at start."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FIRST_TOKENS = 64
LAST_TOKENS = 16_384
NEAR_ENOUGH = 0.95
"""Share of the best rate that a smaller batch, which others wait less for, must reach."""
PATIENCE_S = 2.0
"""No further point of the curve is begun after so long."""


@dataclass(frozen=True)
class Point:
    """A batch of so many tokens runs at so many tokens per second."""

    tokens: int
    tokens_per_s: float


def measure_curve(
    run: Callable[[int], object], clock_s: Callable[[], float] = time.perf_counter
) -> list[Point]:
    """The rate of batches of doubling size, by the better of two runs each.

    `run` computes a batch of so many tokens. Ends where twice the size is slower, or patience.
    """

    def time_s(tokens: int) -> float:
        began_s = clock_s()
        run(tokens)
        return clock_s() - began_s

    points: list[Point] = []
    started_s = clock_s()
    tokens = FIRST_TOKENS
    while tokens <= LAST_TOKENS:
        seconds = min(time_s(tokens), time_s(tokens))
        points.append(Point(tokens, tokens / max(seconds, 1e-9)))
        best = max(point.tokens_per_s for point in points)
        if points[-1].tokens_per_s < NEAR_ENOUGH * best or clock_s() - started_s > PATIENCE_S:
            break
        tokens *= 2
    return points


def choose_tokens(curve: Sequence[Point]) -> int:
    """The smallest batch whose rate is near enough to the best."""
    best = max(point.tokens_per_s for point in curve)
    return min(point.tokens for point in curve if point.tokens_per_s >= NEAR_ENOUGH * best)
