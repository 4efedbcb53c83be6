"""Bits of a text on a GPU, alone and among others."""

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from classwire_server.engine import Precision
from classwire_server.engine.forward.attention import (
    TextBounds,
    attend_within_texts,
    attends_in_one_call,
)
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.tokenization import Encoding
from tests.gpu.engines import DEVICE, encoding, packed, selected

pytestmark = pytest.mark.gpu

MIXTURES = 50
PROBE_TOKENS = 37
HALF = (torch.bfloat16, torch.float16)


def mixtures() -> Iterator[list[int]]:
    """Lengths of the neighbours of the probe, which follow it in the row."""
    dice = random.Random(0)
    for _ in range(MIXTURES):
        longest = dice.choice((8, 60, 512))
        yield [dice.randint(1, longest) for _ in range(dice.randint(1, 40))]


def has_splits() -> bool:
    """Whether this torch may split a text's keys, so that the engine forbids it."""
    from torch.nn.attention.varlen import varlen_attn

    return "num_splits" in inspect.signature(varlen_attn).parameters


@pytest.mark.parametrize("dtype", HALF)
def test_attention(dtype: torch.dtype) -> None:
    """FlashAttention gives a text the same bits whatever its neighbours.

    torch promises it with num_splits=1. Without that argument, the outcome is the skip's reason.
    """
    if not attends_in_one_call(torch.device(DEVICE), dtype, 64):
        pytest.skip("no FlashAttention here")
    generator = torch.Generator(DEVICE).manual_seed(0)

    def row(tokens: int) -> torch.Tensor:
        return torch.randn(1, 12, tokens, 64, generator=generator, device=DEVICE).to(dtype)

    def attended(states: Sequence[torch.Tensor], lengths: Sequence[int]) -> torch.Tensor:
        bounds = torch.tensor([0, *np.cumsum(lengths)])
        text_bounds = TextBounds(bounds, bounds.to(DEVICE, torch.int32))
        result: torch.Tensor = attend_within_texts(*states, *text_bounds, None, None)
        return result[:, :PROBE_TOKENS]

    probe = [row(PROBE_TOKENS) for _ in range(3)]
    alone = attended(probe, [PROBE_TOKENS])
    different = 0
    for neighbours in mixtures():
        others = [row(sum(neighbours)) for _ in range(3)]
        states = [torch.cat(pair, dim=2) for pair in zip(probe, others, strict=True)]
        different += not torch.equal(attended(states, [PROBE_TOKENS, *neighbours]), alone)
    outcome = f"torch {torch.__version__}: other bits in {different} of {MIXTURES} mixtures"
    if different and not has_splits():
        pytest.skip(f"varlen_attn has no num_splits; {outcome}")
    assert different == 0, outcome


def differing(runner: Runner, say: Callable[[str, object], None]) -> tuple[int, float]:
    """In how many mixtures a text has other bits than alone, and its largest change of a logit, as
    a share of the largest logit.
    """
    dice = random.Random(2)
    probe = encoding(dice, PROBE_TOKENS)
    alone = runner.run(pack([probe]))[0]
    different, largest = 0, 0.0
    for neighbours in mixtures():
        texts: list[Encoding] = [probe, *(encoding(dice, n) for n in neighbours)]
        batch: PackedTexts = pack(texts)
        found = batch.unsorted(runner.run(batch))[0]
        different += not np.array_equal(found, alone)
        largest = max(largest, float(np.abs(found - alone).max() / np.abs(alone).max()))
    say("mixtures_with_other_bits", different)
    say("largest_change", largest)
    return different, largest


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_deterministic(
    bert: Path, record_property: Callable[[str, object], None], precision: str
) -> None:
    """With --deterministic a text has the same bits in every mixture, with graphs too."""
    selection = selected(bert, precision, batch_tokens=512, deterministic=True)
    different, _ = differing(selection.finished(selection.engine), record_property)
    assert different == 0


@pytest.mark.parametrize(
    ("precision", "most"), [(Precision.FLOAT32, 1e-4), (Precision.BFLOAT16, 0.1)]
)
def test_packed(
    embedded_folder: Path,
    record_property: Callable[[str, object], None],
    precision: Precision,
    most: float,
) -> None:
    """Without it, neighbours move logits by rounding: products of other shapes add in another
    order. The report of the run names how often.
    """
    _, largest = differing(packed(embedded_folder, precision), record_property)
    assert largest <= most
