"""The measurement of the latency profile, from which the batch size comes."""

import pytest

from classwire_server.engine.latency_profile import (
    ENOUGH_TOKENS,
    LAST_TOKENS,
    LEAST_BATCH_TOKENS,
    measure_profile,
)


class Machine:
    """A device with known times and a simulated clock."""

    def __init__(self, fixed_s: float, token_s: float, cache_tokens: int = 1 << 30) -> None:
        self.now_s = 0.0
        self._fixed_s = fixed_s
        self._token_s = token_s
        self._cache_tokens = cache_tokens

    def run(self, tokens: int) -> None:
        """Compute a batch; beyond the cache each token takes twice as long."""
        slow = max(0, tokens - self._cache_tokens)
        self.now_s += self._fixed_s + self._token_s * (tokens + slow)

    def clock_s(self) -> float:
        """The simulated time."""
        return self.now_s


@pytest.mark.parametrize(
    ("machine", "tokens"),
    [
        (Machine(fixed_s=1e-9, token_s=1e-5), LEAST_BATCH_TOKENS),
        (Machine(fixed_s=1e-3, token_s=1e-5), 2_048),
        (Machine(fixed_s=1e-3, token_s=1e-5, cache_tokens=512), 512),
    ],
)
def test_the_batch_size_follows_the_machine(machine: Machine, tokens: int) -> None:
    """A full batch is the smallest that is close to the best rate."""
    assert measure_profile(machine.run, clock_s=machine.clock_s).best_tokens == tokens


def test_a_slow_model_is_not_measured_for_long() -> None:
    """A slow machine ends the measurement early; a fast one goes on to the last size."""
    fast = Machine(1e-3, 1e-6)
    assert measure_profile(fast.run, clock_s=fast.clock_s).tokens[-1] == LAST_TOKENS
    assert measure_profile(fast.run, 100, clock_s=fast.clock_s).tokens == (16, 32, 64)
    assert measure_profile(fast.run, 8, clock_s=fast.clock_s).tokens == (16,)
    for slow, tokens in ((Machine(0.1, 1e-2), 128), (Machine(1.0, 0.1), 32)):
        assert measure_profile(slow.run, clock_s=slow.clock_s).tokens[-1] == tokens


def test_larger_passes_that_gain_nothing_are_not_measured() -> None:
    """The measurement ends when two doublings together gain less than 5 %, and runs each size
    twice.
    """
    sizes: list[int] = []

    def measured(machine: Machine) -> int:
        def run(tokens: int) -> None:
            sizes.append(tokens)
            machine.run(tokens)

        return measure_profile(run, clock_s=machine.clock_s).tokens[-1]

    assert measured(Machine(1e-9, 1e-5)) == ENOUGH_TOKENS
    assert sorted(sizes) == sorted((16, 32, 64, 128, 256) * 2)
    assert measured(Machine(5e-4, 1e-5)) == 4_096


@pytest.mark.parametrize("lasts_s", [0.005, 0.1, 2.0, 20.0])
@pytest.mark.parametrize("disturbed_tokens", [16, 32, 64, 128, 256])
def test_a_disturbance_changes_nothing(lasts_s: float, disturbed_tokens: int) -> None:
    """A pause of the machine during any one pass does not change the profile."""
    machine, calm = Machine(0.05, 1e-3), Machine(0.05, 1e-3)
    to_disturb = [disturbed_tokens]

    def run(tokens: int) -> None:
        machine.run(tokens)
        if tokens in to_disturb:
            to_disturb.clear()
            machine.now_s += lasts_s

    found = measure_profile(run, clock_s=machine.clock_s)
    assert not to_disturb
    expected = measure_profile(calm.run, clock_s=calm.clock_s)
    assert found.tokens == expected.tokens
    assert found.seconds == pytest.approx(expected.seconds)


def test_a_pass_is_no_slower_than_a_larger_one() -> None:
    """A pass that was slow in both runs gets the time of the next larger one."""
    machine = Machine(0.05, 1e-3)

    def run(tokens: int) -> None:
        machine.run(tokens)
        machine.now_s += 0.5 if tokens == 16 else 0.0

    found = measure_profile(run, 64, clock_s=machine.clock_s)
    assert found.seconds == pytest.approx((0.082, 0.082, 0.114))
