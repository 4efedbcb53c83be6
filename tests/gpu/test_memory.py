"""Memory of a GPU: flat over many batches, and enough by halves."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from classwire_server.engine import Precision
from classwire_server.engine.selection.choice import Selection
from classwire_server.engine.worker.main import run_within_memory
from tests.gpu.engines import packed, random_batch, selected

pytestmark = pytest.mark.gpu

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def selection(bert: Path) -> Selection:
    """The engine that a worker would choose in bfloat16, with graphs where there are any."""
    return selected(bert, "bfloat16", batch_tokens=4_096)


def test_flat(selection: Selection) -> None:
    """After 300 batches of random shapes no tensor is left, and torch holds no more of the device's
    memory than after the first 100.
    """
    dice = random.Random(0)
    shapes = [
        [dice.randint(1, dice.choice((20, 500)))] * dice.choice((1, 5, 30)) for _ in range(100)
    ]
    for lengths in shapes:
        selection.engine.run(random_batch(dice, lengths))
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for _ in range(2):
        dice.shuffle(shapes)
        for lengths in shapes:
            selection.engine.run(random_batch(dice, lengths))
    assert torch.cuda.memory_allocated() == allocated
    # The order of allocations may split other blocks.
    assert torch.cuda.memory_reserved() <= reserved + 32 * MEGABYTE


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The process gets 96 MB more of the device than it holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + 96 * MEGABYTE
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_without_memory_is_halved(
    bert: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that needs more memory than the device has runs in halves, with the same logits."""
    engine = packed(bert, Precision.FLOAT32)
    batch = random_batch(random.Random(0), [256] * 128)
    expected = engine.run(batch)
    request.getfixturevalue("little_memory")
    found = run_within_memory(engine, batch)
    assert any("out of memory on" in message for message in caplog.messages)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
