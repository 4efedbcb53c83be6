"""Which attention a model gets from the installed torch and transformers."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import XLNetForSequenceClassification, masking_utils

from classwire_server.engine import Precision
from classwire_server.engine.forward.attention import flash_attention, gpu_attention
from classwire_server.engine.forward.packed import PackedModel

VARLEN = "torch.nn.attention.varlen"


@pytest.fixture(autouse=True)
def looked_up_again() -> Iterator[None]:
    """Each test finds FlashAttention anew, and so do the tests after it."""
    flash_attention.cache_clear()
    yield
    flash_attention.cache_clear()


def without_windows(query: Any, is_causal: bool = False) -> Any:
    """As in torch 2.10."""


def with_windows(query: Any, *, window_size: tuple[int, int] = (-1, -1)) -> Any:
    """As from torch 2.11 on."""


@pytest.mark.parametrize("module", [None, SimpleNamespace(varlen_attn=without_windows)])
def test_old_torch(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Without FlashAttention with windows, a GPU makes a call for each length; the reason names
    the version of torch that has it, and the installed one.
    """
    monkeypatch.setitem(sys.modules, VARLEN, module)

    assert flash_attention() is None
    choice = gpu_attention(Precision.BFLOAT16)
    assert choice.value == "one call for each length"
    assert "torch 2.11" in choice.why
    assert torch.__version__ in choice.why


def test_new_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it, half precision uses it; float32 can't."""
    monkeypatch.setitem(sys.modules, VARLEN, SimpleNamespace(varlen_attn=with_windows))

    assert flash_attention() is with_windows
    assert gpu_attention(Precision.FLOAT16).value == "FlashAttention"
    assert gpu_attention(Precision.FLOAT32).value == "one call for each length"


def test_old_transformers(checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that keeps its own attention is not packed; with transformers 4 the reason names the
    version that packs most models, and the installed one.
    """
    model = XLNetForSequenceClassification.from_pretrained(checkpoint("xlnet"))
    with pytest.raises(ValueError, match="attention"):
        PackedModel(model, frozenset())

    monkeypatch.delattr(masking_utils, "create_bidirectional_mask", raising=False)
    with pytest.raises(ValueError, match=f"transformers 5.0 .* {transformers.__version__}"):
        PackedModel(model, frozenset())
