"""Tiny checkpoints whose weights are integer arithmetic: the same bits on every machine.

Each is a model of the server `serving`, under its own name, beside the embedded one.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from tests.checkpoints import STARS, deviation, make_checkpoint

EMBEDDED = "stars-en"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "server" / "classwire_server" / "models" / EMBEDDED

transformers_logging.disable_progress_bar()

Fill = Callable[[str, torch.Tensor], None]


def _hashed(name: str, parameter: torch.Tensor) -> None:
    """Products and embeddings get values that look random; norms and biases stay as they are."""
    if parameter.dim() > 1:
        values = deviation(name, parameter) * 3**0.5 * uniform(name, parameter.numel())
        _set(parameter, values.astype(np.float32))


def uniform(name: str, count: int) -> np.ndarray:
    """So many numbers in [-1, 1), from a hash of their name and place.

    The hash is splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
    2014); its upper 24 bits are a float32, exactly.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    places = np.arange(1, count + 1, dtype=np.uint64)
    state = np.uint64(seed) + places * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0


def _constant(logits: Sequence[float | None]) -> Fill:
    """The logits of a model, whatever the text; None where it depends on the text after all."""

    def fill(name: str, parameter: torch.Tensor) -> None:
        _hashed(name, parameter)
        if name == "classifier.weight":
            kept = np.array([[logit is None] for logit in logits])
            _set(parameter, np.where(kept, parameter.detach().numpy(), np.float32(0)))
        elif name == "classifier.bias":
            _set(parameter, np.array([logit or 0.0 for logit in logits], dtype=np.float32))

    return fill


def _set(parameter: torch.Tensor, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))


CHECKPOINTS: Mapping[str, Mapping[str, Any]] = {
    "topics": {  # multi-label, and two labels that always tie
        "architecture": "bert",
        "labels": ("sports", "politics", "science", "even", "equal"),
        "problem_type": "multi_label_classification",
        "max_position_embeddings": 32,
        "fill": _constant((None, None, None, 0.25, 0.25)),
    },
    "entailment": {  # pairs, told apart by token types
        "architecture": "bert",
        "labels": ("entailment", "neutral", "contradiction"),
        "max_position_embeddings": 31,
    },
    "rating": {  # a number; bytes as tokens, no token types
        "architecture": "roberta",
        "labels": ("LABEL_0",),
        "problem_type": "regression",
        "max_position_embeddings": 34,
    },
    "spam": {  # one label and no problem type
        "architecture": "distilbert",
        "labels": ("spam",),
        "max_position_embeddings": 32,
    },
    "extremes": {  # logits at which careless arithmetic overflows, and a tie
        "architecture": "bert",
        "labels": ("never", "perhaps", "as likely"),
        "max_position_embeddings": 32,
        "fill": _constant((-120.0, 60.0, 60.0)),
    },
}


def make(name: str, folder: Path) -> Path:
    """Write one of the CHECKPOINTS into `folder`, and return it."""
    options = {"fill": _hashed, **CHECKPOINTS[name]}
    return make_checkpoint(folder=folder, **options)


def make_faulty(folder: Path) -> Path:
    """Write the checkpoint of the models that can't answer, and return its folder."""
    return make_checkpoint("bert", folder, labels=STARS, fill=_hashed)
