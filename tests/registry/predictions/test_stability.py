"""The population stability index: its value, and how many texts it needs."""

import numpy as np
import pytest

from classwire_server.registry.predictions.stability import (
    PARTS,
    SlidingCounts,
    population_stability_index,
    texts_needed,
)

ALARM = 0.2
"""The threshold of the alert."""


def divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    """The symmetric divergence of Kullback and Leibler of two samples with half a text added."""
    e, a = ((counts + 0.5) / (counts + 0.5).sum() for counts in (expected, actual))
    return float((a * np.log(a / e)).sum() + (e * np.log(e / a)).sum())


@pytest.mark.parametrize(
    ("expected", "actual"),
    [((100, 100), (150, 50)), ((900, 50, 50), (0, 0, 400)), ((7, 0, 3), (1, 2, 0))],
)
def test_the_index(expected: tuple[int, ...], actual: tuple[int, ...]) -> None:
    """It is the symmetric divergence of the two samples, finite also for a label without texts."""
    index = population_stability_index(expected, actual)

    assert index == pytest.approx(divergence(np.array(expected), np.array(actual)))
    assert index == pytest.approx(population_stability_index(actual, expected))


def test_equal_shares() -> None:
    """Samples with the same shares have almost no distance, a shift of the shares has some."""
    assert population_stability_index((1_000, 3_000), (100, 300)) < 1e-5
    assert population_stability_index((1_000, 3_000), (200, 200)) > ALARM


@pytest.mark.parametrize("labels", [2, 5, 20, 101])
@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_enough_texts(labels: int, slope: float) -> None:
    """Of samples of `texts_needed` texts from one distribution, fewer than one pair in a thousand
    is as far apart as the alert requires; of samples of a sixth, many are.
    """
    random = np.random.default_rng(7)
    shares = np.exp(-slope * np.arange(labels))
    shares /= shares.sum()

    def alarms(texts: int) -> float:
        pairs = random.multinomial(texts, shares, size=(2_000, 2)).tolist()
        return float(np.mean([population_stability_index(*pair) > ALARM for pair in pairs]))

    assert alarms(texts_needed(labels)) < 0.001
    if slope == 0.0 and labels > 2:
        assert alarms(texts_needed(labels) // 6) > 0.1


def test_the_window_forgets() -> None:
    """Counts leave the window with their part, a twelfth of it, and not before."""
    window = SlidingCounts(2, window_s=60.0)
    window.current(100.0)[0] += 3
    window.current(131.0)[1] += 2

    assert window.read(131.0) == [3, 2]
    assert window.read(100.0 + 60.0 - 60.0 / PARTS) == [3, 2]
    assert window.read(160.0) == [0, 2]
    assert window.read(1_000.0) == [0, 0]
