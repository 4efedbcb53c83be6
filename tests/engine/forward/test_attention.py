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
from classwire_server.engine.forward.attention import (
    attends_in_one_call,
    flash_attention,
    gpu_attention,
    has_flash_kernels,
)
from classwire_server.engine.forward.packed import PackedModel

VARLEN = "torch.nn.attention.varlen"


@pytest.fixture(autouse=True)
def looked_up_again() -> Iterator[None]:
    """Each test finds FlashAttention anew, and so do the tests after it."""
    for found in (flash_attention, has_flash_kernels):
        found.cache_clear()
    yield
    for found in (flash_attention, has_flash_kernels):
        found.cache_clear()


def without_windows(query: Any, is_causal: bool = False) -> Any:
    """As in torch 2.10."""


def with_windows(query: Any, *, window_size: tuple[int, int] = (-1, -1)) -> Any:
    """As in torch 2.11."""


def with_splits(*, window_size: tuple[int, int] = (-1, -1), num_splits: int | None = None) -> Any:
    """As in torch 2.13: the number of splits follows the longest text, unless it is given."""
    return num_splits


@pytest.fixture
def capability(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Sets the compute capability of the machine's CUDA devices."""

    def set_(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, minor))

    return set_


@pytest.mark.parametrize("module", [None, SimpleNamespace(varlen_attn=without_windows)])
def test_old_torch(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Without FlashAttention with windows, a GPU makes a call for each length; the reason names
    the version of torch that has it, and the installed one.
    """
    monkeypatch.setitem(sys.modules, VARLEN, module)

    assert flash_attention() is None
    choice = gpu_attention(Precision.BFLOAT16, "cuda:0")
    assert choice.value == "one call for each length"
    assert "torch 2.11" in choice.why
    assert torch.__version__ in choice.why


def test_new_torch(monkeypatch: pytest.MonkeyPatch, capability: Callable[[int, int], None]) -> None:
    """With it, half precision uses it; float32 can't."""
    monkeypatch.setitem(sys.modules, VARLEN, SimpleNamespace(varlen_attn=with_windows))
    capability(9, 0)

    assert flash_attention() is with_windows
    assert gpu_attention(Precision.FLOAT16, "cuda:0").value == "FlashAttention"
    assert gpu_attention(Precision.FLOAT32, "cuda:0").value == "one call for each length"


def test_no_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that can split the keys of a text is told not to: neighbours change no bit."""
    monkeypatch.setitem(sys.modules, VARLEN, SimpleNamespace(varlen_attn=with_splits))

    assert flash_attention()() == 1


def test_old_gpu(monkeypatch: pytest.MonkeyPatch, capability: Callable[[int, int], None]) -> None:
    """A GPU before Ampere has no FlashAttention 2: it makes a call for each length."""
    monkeypatch.setitem(sys.modules, VARLEN, SimpleNamespace(varlen_attn=with_windows))
    capability(7, 5)

    choice = gpu_attention(Precision.FLOAT16, "cuda:0")
    assert choice.value == "one call for each length"
    assert "compute capability 8.0" in choice.why
    assert not attends_in_one_call(torch.device("cuda:0"), torch.float16, 64)


@pytest.mark.parametrize(
    ("device", "dtype", "size", "is_one_call"),
    [
        ("cuda:0", torch.bfloat16, 64, True),
        ("cuda:0", torch.float16, 256, True),
        ("cuda:0", torch.float32, 64, False),
        ("cuda:0", torch.bfloat16, 26, False),  # as in TinyBERT
        ("cuda:0", torch.bfloat16, 264, False),
        ("cpu", torch.bfloat16, 64, False),
    ],
)
def test_heads_that_flash_attention_computes(
    monkeypatch: pytest.MonkeyPatch,
    capability: Callable[[int, int], None],
    device: str,
    dtype: torch.dtype,
    size: int,
    is_one_call: bool,
) -> None:
    """FlashAttention gets half precision on a GPU, and heads of 8 to 256 values in steps of 8."""
    monkeypatch.setitem(sys.modules, VARLEN, SimpleNamespace(varlen_attn=with_windows))
    capability(8, 0)

    assert attends_in_one_call(torch.device(device), dtype, size) is is_one_call


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
