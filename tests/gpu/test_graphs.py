"""CUDA graphs on a GPU: a replayed batch has the logits of the plain engine."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from classwire_server.engine import Precision
from classwire_server.engine.forward.attention import flash_attention, has_flash_kernels
from classwire_server.engine.forward.graphs import GraphedEngine, with_graphs
from classwire_server.engine.forward.packed import PackedEngine
from tests.gpu.engines import DEVICE, packed, random_batch

pytestmark = pytest.mark.gpu

ROUNDING = 0.05
"""Largest difference of a logit as a share of the largest: bfloat16 has 8 significant bits."""


@pytest.fixture(scope="module")
def plain(embedded_folder: Path) -> PackedEngine:
    """A trained checkpoint in bfloat16 without graphs."""
    if flash_attention() is None or not has_flash_kernels(torch.device(DEVICE)):
        pytest.skip("no FlashAttention here, and so no graphs")
    return packed(embedded_folder, Precision.BFLOAT16)


@pytest.fixture(scope="module")
def graphed(plain: PackedEngine) -> GraphedEngine:
    """The same with graphs."""
    return with_graphs(plain, 512)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Fail if logits differ by more than rounding."""
    assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 64, 128, 129, 300, 512])
def test_a_lone_text(plain: PackedEngine, graphed: GraphedEngine, tokens: int) -> None:
    """Alone in a bucket, a text of any length has its logits."""
    batch = random_batch(random.Random(tokens), [tokens])
    assert_same(graphed.run(batch), plain.run(batch))


def test_random_batches(plain: PackedEngine, graphed: GraphedEngine) -> None:
    """Whatever ran before, a batch has its logits, and bit for bit those of its first run."""
    dice = random.Random(0)
    batches = [
        random_batch(dice, [dice.randint(1, longest) for _ in range(texts)])
        for texts in (1, 2, 5, 30, 100)
        for longest in (8, 40, 200, 512)
    ]
    first = [graphed.run(batch) for batch in batches]
    for batch, found in zip(batches, first, strict=True):
        assert_same(found, plain.run(batch))
    for index in dice.choices(range(len(batches)), k=100):
        np.testing.assert_array_equal(graphed.run(batches[index]), first[index])


def test_threads(graphed: GraphedEngine) -> None:
    """Threads that run at once, some by graphs and some without, get their own logits."""
    dice = random.Random(1)
    batches = [
        random_batch(dice, [dice.randint(1, 100)] * dice.choice((1, 3, 80))) for _ in "x" * 60
    ]
    expected = [graphed.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        for found, wanted in zip(threads.map(graphed.run, batches), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
