"""The size of a batch comes from a measured curve."""

import pytest

from classwire_server.engine.budget import LAST_TOKENS, Point, choose_tokens, measure_curve


class Machine:
    """A device of a known cost, with a clock of its own."""

    def __init__(self, fixed_s: float, token_s: float, cache_tokens: int = 1 << 30) -> None:
        self.now_s = 0.0
        self._fixed_s = fixed_s
        self._token_s = token_s
        self._cache_tokens = cache_tokens

    def run(self, tokens: int) -> None:
        """Compute a batch; beyond the cache a token costs twice as much."""
        slow = max(0, tokens - self._cache_tokens)
        self.now_s += self._fixed_s + self._token_s * (tokens + slow)

    def clock_s(self) -> float:
        """What its clock shows."""
        return self.now_s


@pytest.mark.parametrize(
    ("machine", "tokens"),
    [
        (Machine(fixed_s=1e-9, token_s=1e-5), 64),
        (Machine(fixed_s=1e-3, token_s=1e-5), 2_048),
        (Machine(fixed_s=1e-3, token_s=1e-5, cache_tokens=512), 512),
    ],
)
def test_the_budget_follows_the_machine(machine: Machine, tokens: int) -> None:
    """Batches are as large as it takes to be near the best rate, and no larger."""
    assert choose_tokens(measure_curve(machine.run, machine.clock_s)) == tokens


def test_a_slow_model_is_not_measured_for_long() -> None:
    """After two seconds no larger batch is tried; a fast machine's curve goes to its end."""
    slow = measure_curve((machine := Machine(0.1, 1e-2)).run, machine.clock_s)
    fast = measure_curve((machine := Machine(1e-3, 1e-6)).run, machine.clock_s)
    assert [point.tokens for point in slow] == [64, 128]
    assert fast[-1].tokens == LAST_TOKENS


def test_the_smallest_batch_that_is_near_the_best() -> None:
    """Ninety-five parts in a hundred of the best rate are near enough."""
    curve = [Point(64, 900), Point(128, 951), Point(256, 1_000), Point(512, 990)]
    assert choose_tokens(curve) == 128
