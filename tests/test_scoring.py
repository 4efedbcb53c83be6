"""Logits to scores and their ranking."""

import numpy as np
import pytest
import torch

from classwire_server.scoring import Activation, ranking, scores

EXTREMES = ([-60.0, 30.0], [1e4, -1e4], [1e4, 1e4], [0.0], [-3e38, 3e38], [1.0, 2.0, 3.0, -4.0])


@pytest.mark.parametrize("logits", EXTREMES)
def test_softmax_is_that_of_torch(logits: list[float]) -> None:
    """Softmax equals torch's for all float32 logits, and the scores sum to 1."""
    expected = torch.tensor(logits, dtype=torch.float64).softmax(dim=0).numpy()
    actual = scores(np.array(logits, dtype=np.float32), Activation.SOFTMAX)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert actual.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("logits", EXTREMES)
def test_sigmoid_is_that_of_torch(logits: list[float]) -> None:
    """Sigmoid equals torch's for all float32 logits, without a warning of overflow."""
    expected = torch.tensor(logits, dtype=torch.float64).sigmoid().numpy()
    actual = scores(np.array(logits, dtype=np.float32), Activation.SIGMOID)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-300)


def test_identity_changes_nothing() -> None:
    """Identity returns the logits."""
    logits = np.array([-60.0, 30.0], dtype=np.float32)
    assert scores(logits, Activation.IDENTITY).tolist() == [-60.0, 30.0]


@pytest.mark.parametrize("activation", Activation)
def test_many_texts_at_once(activation: Activation) -> None:
    """The scores of a text in a batch equal its scores alone, to the bit."""
    logits = np.random.default_rng(1).normal(scale=9, size=(50, 77)).astype(np.float32)

    together = scores(logits, activation)

    for row, alone in zip(together, logits, strict=True):
        np.testing.assert_array_equal(row, scores(alone, activation))


def test_ranking() -> None:
    """Highest first, ties by label id, for each text."""
    values = np.array([[0.1, 0.4, 0.1, 0.4], [0.3, 0.2, 0.1, 0.0]])
    assert ranking(values).tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
