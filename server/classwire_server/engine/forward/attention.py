"""Attention that stays inside each text of a packed row, and means that do.

Both are custom operators of torch, so that a compiled model calls them as a plain one does. The
layout of the row, and nothing of the model, is what they know.
"""

from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from .preemption import PREEMPTION

ATTENTION = "classwire_packed"
"""Name under which transformers' models find it."""

_HALF = (torch.bfloat16, torch.float16)


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

    Query, key and value are (1, heads, tokens, size), the result is (1, tokens, heads, size). Text
    i lies at bounds[i]:bounds[i + 1]; `bounds` is on the CPU, `device_bounds` the same, as int32,
    on the device. `window` is the largest distance at which tokens see each other, None for any.
    Texts of equal length that lie side by side are one product: no text's bits depend on how many.
    On the CPU urgent passes have the right of way here; a GPU has its layers queued long before.
    """
    if query.device.type == "cpu":
        PREEMPTION.give_way()
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if query.is_cuda and query.dtype in _HALF:
        from torch.nn.attention.varlen import varlen_attn  # takes time and memory to import

        longest = int(bounds.diff().max())  # of what is on the CPU: the device is not waited for
        attended: Any = varlen_attn(
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
        row: torch.Tensor = attended[None]
        return row
    output = query.new_empty(query.shape)  # (tokens, heads, size), contiguous
    start = 0
    for length, alike in groupby(bounds.diff().tolist()):
        texts = len(list(alike))
        end = start + texts * length
        if not length:
            continue

        def stacked(row: torch.Tensor, a: int = start, b: int = end, n: int = texts) -> Any:
            return row[a:b].unflatten(0, (n, -1)).transpose(1, 2)  # (texts, heads, length, size)

        stacked(output).copy_(
            scaled_dot_product_attention(
                stacked(query),
                stacked(key),
                stacked(value),
                attn_mask=_near(length, window, query.device),
                scale=scaling,
            )
        )
        start = end
    return output[None]


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


def _near(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    if window is None or length <= window + 1:
        return None
    places = torch.arange(length, device=device)
    return (places[:, None] - places[None, :]).abs() <= window  # (length, length)


@torch.library.custom_op("classwire::mean_within_texts", mutates_args=())
def mean_within_texts(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The mean of each text's tokens: (tokens, hidden) -> (texts, hidden)."""
    lengths: list[int] = bounds.diff().tolist()
    return torch.stack([text.mean(dim=0) for text in hidden.split(lengths)])


@mean_within_texts.register_fake
def _(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    return hidden.new_empty(bounds.shape[0] - 1, hidden.shape[1])


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    text_bounds: tuple[torch.Tensor, torch.Tensor],
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it; ModernBERT's sliding_window is one more than the distance."""
    bounds, device_bounds = text_bounds
    window = None if sliding_window is None else sliding_window - 1
    output = attend_within_texts(query, key, value, bounds, device_bounds, scaling, window)
    return output, None


AttentionInterface.register(ATTENTION, _attention)
