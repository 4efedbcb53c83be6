"""Random weights that make scores differ from text to text."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .sizes import LABELS

GAINS = (1.5, 3.0, 1.0, 5.0)
"""Gains of the products, tried in this order until scores differ."""
SPREAD = 2.5
"""How far the texts' logits of a label shall lie apart."""
LARGEST_SCALE = 30.0
"""Limit of the head's scale: it enlarges float32's rounding too."""

_KEPT = ("A_log", "dt_proj", "dt_bias", "alibi", "inv_freq", "slope_rate")


@torch.no_grad()
def fill(model: nn.Module, gain: float, seed: int = 0) -> None:
    """Set random weights and biases; norms and the rates of state spaces stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    tables = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if any(part in name for part in _KEPT) or not parameter.is_floating_point():
            continue
        if parameter.dim() > 1:
            if id(parameter) in tables:
                deviation = 0.5 if "pos" in name or "type" in name or "wpe" in name else 1.0
            else:
                deviation = _deviation(parameter, gain)
            parameter.normal_(std=deviation, generator=generator)
        elif name.endswith("bias") and "norm" not in name.lower():
            parameter.normal_(std=0.1, generator=generator)


def _deviation(parameter: torch.Tensor, gain: float) -> float:
    if parameter.dim() == 3 and min(parameter.shape) > 1:  # experts
        return float(gain / max(parameter.shape[1:]) ** 0.5)
    return float(gain / parameter.shape[1:].numel() ** 0.5)


def spread_scores(model: nn.Module, logits: Callable[[], torch.Tensor]) -> float:
    """Fill a model so that scores differ between texts, and return by how much they do.

    `logits` gives those of a few texts: (texts, labels).
    """
    spread = 0.0
    for gain in GAINS:
        fill(model, gain)
        apart = _apart(logits())
        if not 0 < apart < float("inf"):
            continue
        with torch.no_grad():
            head = _head(model)
            scale = min(SPREAD / apart, LARGEST_SCALE)
            head.weight *= scale
            if getattr(head, "bias", None) is not None:
                head.bias *= scale
        spread = _apart(logits().softmax(dim=-1))
        if spread >= 0.1:
            break
    return spread


def _apart(values: torch.Tensor) -> float:
    """The largest difference of a column."""
    return float((values.amax(dim=0) - values.amin(dim=0)).max())


def _head(model: nn.Module) -> Any:
    """The last product that gives the labels."""
    *_, head = (
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == len(LABELS)
    )
    return head
