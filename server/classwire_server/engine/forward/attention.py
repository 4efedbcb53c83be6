"""Attention that stays inside each text of a packed row, and the mean over each text.

Both are custom operators of torch, so that a compiled model calls them as a plain one does. They
know the layout of the row and nothing of the model.
"""

from functools import cache, partial
from inspect import signature
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from classwire_server.engine import Choice, Precision

from .preemption import PREEMPTION

ATTENTION = "classwire_packed"
"""The name under which transformers' models find this attention."""

_HALF = (torch.bfloat16, torch.float16)
_LARGEST_HEAD = 256


class TextBounds(NamedTuple):
    """Where the texts of a packed row are: text i is at bounds[i]:bounds[i + 1].

    `cpu` is int64, (texts + 1,), on the CPU. `device` has the same values as int32 on the device.
    """

    cpu: torch.Tensor
    device: torch.Tensor


@cache
def flash_attention() -> Any:
    """FlashAttention for texts of any lengths, with windows; None in a torch that lacks it.

    Where torch would split the keys of a text by the longest text of the batch, and so add in
    another order, it is told not to.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn  # takes time and memory to import
    except ImportError:
        return None
    taken = signature(varlen_attn).parameters
    if "window_size" not in taken:
        return None
    return partial(varlen_attn, num_splits=1) if "num_splits" in taken else varlen_attn


@cache
def has_flash_kernels(device: torch.device) -> bool:
    """Whether a CUDA device can run FlashAttention 2: from compute capability 8.0 (Ampere) on."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def gpu_attention(precision: Precision, device: str) -> Choice:
    """How a packed engine attends on a CUDA device, and what would do better."""
    if precision is Precision.FLOAT32:
        why = "FlashAttention has no float32"
    elif flash_attention() is None:
        why = f"FlashAttention for all lengths comes with torch 2.11; this is {torch.__version__}"
    elif not has_flash_kernels(torch.device(device)):
        why = "FlashAttention needs a GPU of compute capability 8.0 or higher"
    else:
        why = "one call for texts of all lengths, for heads of 8 to 256 values in steps of 8"
        return Choice("attention", "FlashAttention", why)
    return Choice("attention", "one call for each length", why)


def attends_in_one_call(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    """Whether FlashAttention computes heads of `size` values of this dtype on this device."""
    return (
        device.type == "cuda"
        and dtype in _HALF
        and size % 8 == 0
        and size <= _LARGEST_HEAD
        and flash_attention() is not None
        and has_flash_kernels(device)
    )


# Seven parameters: the schema of a torch operator has no named tuples, so each tensor is its own.
@torch.library.custom_op("classwire::attend_within_texts", mutates_args=())
def attend_within_texts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    device_bounds: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Attention of each token to the tokens of its own text.

    `query`, `key` and `value` are (1, heads, tokens, size); the result is (1, tokens, heads, size).
    `bounds` and `device_bounds` are the two parts of TextBounds. `window` is the largest distance
    between a token and one that it attends to, None for any (sliding windows: Beltagy et al. 2020,
    arXiv:2004.05150, section 3.1). `scaling` multiplies the products of queries and keys; None is
    1 / sqrt(size) (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).

    On a GPU in half precision the row is one call of FlashAttention for variable lengths (Dao 2023,
    arXiv:2307.08691), if torch and the GPU have it. Elsewhere adjacent texts of equal length are
    one batched product: the bits of a text do not depend on their number. On the CPU urgent passes
    preempt here; a GPU has the pass's layers queued long before.
    """
    if query.device.type == "cpu":
        PREEMPTION.preemption_point()
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    # Each is (tokens, heads, size) now.
    if attends_in_one_call(query.device, query.dtype, query.shape[-1]):
        longest = int(bounds.diff().max())  # computed on the CPU, so it does not wait for the GPU
        attended: Any = flash_attention()(
            query.contiguous(),
            key.contiguous(),
            value.contiguous(),
            device_bounds,
            device_bounds,
            longest,
            longest,
            scale=scaling,
            window_size=(-1, -1) if window is None else (window, window),
        )
        row: torch.Tensor = attended[None]  # (1, tokens, heads, size)
        return row
    output = query.new_empty(query.shape)  # (tokens, heads, size), contiguous
    start = 0
    for length, equal in groupby(bounds.diff().tolist()):
        texts = len(list(equal))
        end = start + texts * length
        if not length:
            continue

        def grouped(row: torch.Tensor, a: int = start, b: int = end, n: int = texts) -> Any:
            return row[a:b].unflatten(0, (n, -1)).transpose(1, 2)  # (texts, heads, length, size)

        grouped(output).copy_(
            scaled_dot_product_attention(
                grouped(query),
                grouped(key),
                grouped(value),
                attn_mask=_window_mask(length, window, query.device),
                scale=scaling,
            )
        )
        start = end
    return output[None]  # (1, tokens, heads, size)


@attend_within_texts.register_fake
def _(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    device_bounds: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    _, heads, tokens, size = query.shape
    return query.new_empty(1, tokens, heads, size)


def _window_mask(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """bool, (length, length): which tokens see each other. None where all do."""
    if window is None or length <= window + 1:
        return None
    positions = torch.arange(length, device=device)  # (length,)
    return (positions[:, None] - positions[None, :]).abs() <= window  # (length, length)


@torch.library.custom_op("classwire::mean_within_texts", mutates_args=())
def mean_within_texts(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens of each text: (tokens, hidden) -> (texts, hidden)."""
    lengths: list[int] = bounds.diff().tolist()
    return torch.stack([text.mean(dim=0) for text in hidden.split(lengths)])  # (texts, hidden)


@mean_within_texts.register_fake
def _(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    return hidden.new_empty(bounds.shape[0] - 1, hidden.shape[1])  # (texts, hidden)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    text_bounds: TextBounds,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it. ModernBERT's sliding_window is the distance plus one."""
    window = None if sliding_window is None else sliding_window - 1
    output = attend_within_texts(query, key, value, *text_bounds, scaling, window)
    return output, None  # (1, tokens, heads, size)


AttentionInterface.register(ATTENTION, _attention)
