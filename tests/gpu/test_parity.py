"""Scores on a GPU against direct use of transformers on the CPU, in float32."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from classwire_server.engine import Layout, Precision
from classwire_server.engine.forward.attention import flash_attention, has_flash_kernels
from classwire_server.engine.forward.device import forbid_tf32
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import pack
from classwire_server.engine.selection.choice import Selection
from classwire_server.scoring import Activation, scores
from classwire_server.tokenization import Text, Truncation
from tests.checkpoints import ARCHITECTURES
from tests.gpu.engines import DEVICE, grouped, packed, selected
from tests.parity.direct import TEXTS, Direct

pytestmark = pytest.mark.gpu

HALF = (Precision.BFLOAT16, Precision.FLOAT16)
MOST = {Precision.BFLOAT16: 0.03, Precision.FLOAT16: 0.01}
"""Largest difference of a trained checkpoint's scores."""


@pytest.fixture
def tf32_is_on() -> Iterator[None]:
    """The process starts with TF32, as in containers that switch it on."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def logits_of(runner: Runner, selection: Selection) -> np.ndarray:
    """Logits of TEXTS, (texts, labels)."""
    tokenization = selection.checkpoint.tokenization(Truncation.DROP_END)
    texts = [Text(text) if isinstance(text, str) else Text(*text) for text in TEXTS]
    batch = pack([tokenization.encode(text, None, "") for text in texts])
    return batch.unsorted(runner.run(batch))


def expected_logits(folder: Path) -> np.ndarray:
    """Logits of TEXTS in direct use on the CPU, (texts, labels)."""
    direct = Direct.load(folder)
    return np.stack([direct.logits(text).numpy() for text in TEXTS])


def largest_difference(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference of any score."""
    both = (scores(logits, Activation.SOFTMAX) for logits in (left, right))
    return float(np.abs(np.subtract(*both)).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32(checkpoint: Callable[..., Path], architecture: str) -> None:
    """Every architecture has the scores of direct use on the CPU, within 1e-4. The check at start
    has compared them with direct use on the GPU.
    """
    folder = checkpoint(architecture)
    selection = selected(folder, "float32", batch_tokens=512)
    found = logits_of(selection.engine, selection)
    assert largest_difference(found, expected_logits(folder)) <= 1e-4


def test_float32_where_tf32_was_on(tf32_is_on: None, bert: Path) -> None:
    """A worker switches TF32 off: its 10 bits would move scores by more than 1e-4."""
    selection = selected(bert, "float32", batch_tokens=512)
    assert torch.get_float32_matmul_precision() == "highest"
    found = logits_of(selection.engine, selection)
    assert largest_difference(found, expected_logits(bert)) <= 1e-4


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("build", [packed, grouped])
def test_half_precision(
    embedded_folder: Path, build: Callable[[Path, Precision], Runner], precision: Precision
) -> None:
    """A trained checkpoint keeps its labels and has close scores, packed and grouped by length."""
    forbid_tf32(DEVICE)
    selection = selected(embedded_folder, "float32", batch_tokens=512)
    found = logits_of(build(embedded_folder, precision), selection)
    expected = expected_logits(embedded_folder)
    assert largest_difference(found, expected) <= MOST[precision]
    sure = np.sort(scores(expected, Activation.SOFTMAX))[:, -2:] @ [-1, 1] > 2 * MOST[precision]
    assert (found.argmax(1) == expected.argmax(1))[sure].all()


@pytest.mark.parametrize("precision", HALF)
def test_the_selected_engine(embedded_folder: Path, precision: Precision) -> None:
    """A worker packs, attends in one call where torch and the GPU can, and has close scores."""
    selection = selected(embedded_folder, precision.value, batch_tokens=512)
    assert selection.engine.traits.layout is Layout.PACKED
    assert selection.engine.traits.precision is precision
    choices = {choice.what: choice for choice in selection.choices}
    can = flash_attention() is not None and has_flash_kernels(torch.device(DEVICE))
    assert (choices["attention"].value == "FlashAttention") is can
    assert choices["CUDA graphs"].value.startswith("batches") is can, choices["CUDA graphs"].why
    found = logits_of(selection.engine, selection)
    assert largest_difference(found, expected_logits(embedded_folder)) <= MOST[precision]


@pytest.mark.parametrize("precision", HALF)
def test_heads_that_flash_attention_lacks(
    checkpoint: Callable[..., Path], precision: Precision
) -> None:
    """A model with heads of 4 values runs packed in half precision, with a call for each length."""
    selection = selected(checkpoint("minilm"), precision.value, batch_tokens=512)
    assert selection.engine.traits.layout is Layout.PACKED
    assert np.isfinite(logits_of(selection.engine, selection)).all()
