"""The size of a batch comes from a measured curve."""

import pytest

from classwire_server.engine.budget import LAST_TOKENS, PATIENCE_S, measure_cost
from classwire_server.pass_cost import LEAST_BATCH_TOKENS


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
        (Machine(fixed_s=1e-9, token_s=1e-5), LEAST_BATCH_TOKENS),
        (Machine(fixed_s=1e-3, token_s=1e-5), 2_048),
        (Machine(fixed_s=1e-3, token_s=1e-5, cache_tokens=512), 512),
    ],
)
def test_the_budget_follows_the_machine(machine: Machine, tokens: int) -> None:
    """Batches are as large as it takes to be near the best rate, and no larger."""
    assert measure_cost(machine.run, clock_s=machine.clock_s).best_tokens == tokens


def test_a_slow_model_is_not_measured_for_long() -> None:
    """After a while no larger batch is tried; a fast machine's go to the end, or to that asked."""
    slow, fast = Machine(0.1, 1e-2), Machine(1e-3, 1e-6)
    assert measure_cost(slow.run, clock_s=slow.clock_s).tokens == (16, 32, 64, 128)
    assert slow.now_s < 2 * (PATIENCE_S + 0.1 + 1.28)
    assert measure_cost(fast.run, clock_s=fast.clock_s).tokens[-1] == LAST_TOKENS
    assert measure_cost(fast.run, 100, fast.clock_s).tokens == (16, 32, 64)
    assert measure_cost(fast.run, 8, fast.clock_s).tokens == (16,)


def test_a_disturbance_does_not_end_the_measurement() -> None:
    """A machine that is slow for a while, for one size after another, is measured as it is."""
    machine, calm = Machine(1e-3, 1e-5), Machine(1e-3, 1e-5)

    def run(tokens: int) -> None:
        is_first = tokens == 64 and machine.now_s < 0.01
        for _ in range(4 if is_first else 1):
            machine.run(tokens)

    found = measure_cost(run, clock_s=machine.clock_s)
    assert found.tokens == measure_cost(calm.run, clock_s=calm.clock_s).tokens
    assert found.seconds == pytest.approx(
        [1e-3 + 1e-5 * tokens for tokens in found.tokens], rel=1e-6
    )
