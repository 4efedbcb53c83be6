"""Times and sizes computed from the measured times of a few passes."""

import pytest

from classwire_server.engine.latency_profile import LEAST_BATCH_TOKENS, LatencyProfile

PROFILE = LatencyProfile((16, 32, 64), (0.05, 0.06, 0.08))


@pytest.mark.parametrize(("tokens", "seconds"), [(1, 0.05), (24, 0.055), (64, 0.08), (100, 0.08)])
def test_the_time_of_a_pass(tokens: int, seconds: float) -> None:
    """Times are interpolated between measured passes, and constant outside of them."""
    assert PROFILE.seconds_of(tokens) == pytest.approx(seconds)


def test_the_smallest_batch_that_is_near_the_best() -> None:
    """The best batch is the smallest with 95 % of the best rate."""
    profile = LatencyProfile((64, 128, 256, 512), (64 / 900, 128 / 951, 256 / 1_000, 512 / 990))
    assert profile.best_tokens == 128


@pytest.mark.parametrize("measured", [1, 2, 3])
def test_no_batch_is_tiny(measured: int) -> None:
    """A full batch has LEAST_BATCH_TOKENS even if smaller passes are faster or nothing larger was
    measured.
    """
    profile = LatencyProfile((16, 32, 64)[:measured], (0.01, 0.03, 0.09)[:measured])
    assert profile.best_tokens == LEAST_BATCH_TOKENS


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(0.0, 16), (0.05, 16), (0.055, 24), (0.07, 48), (1.0, 64)]
)
def test_the_largest_pass_within_a_time(seconds: float, tokens: int) -> None:
    """Sizes are interpolated between measured passes, and constant outside of them."""
    assert PROFILE.tokens_within(seconds + 1e-9) == tokens


@pytest.mark.parametrize(("share", "tokens"), [(0.1, 16), (0.75, 39), (1.0, 64)])
def test_the_smallest_pass_at_a_share_of_the_best_rate(share: float, tokens: int) -> None:
    """The best rate is 800 tokens/s here; 39 tokens take 64 ms."""
    assert PROFILE.tokens_at(share) == tokens
