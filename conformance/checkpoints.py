"""Tiny checkpoints with weights from integer arithmetic: the same bits on every machine.

The server `serving` serves each under its name, in addition to the embedded one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from tests.checkpoints import STARS, deviation, make_checkpoint

EMBEDDED = "stars-en"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "server" / "classwire_server" / "models" / EMBEDDED

transformers_logging.disable_progress_bar()

CALM = 0.5
"""Scale of the weights; small, so that two processors' logits differ by 1e-6 at most."""

CHECKPOINTS: Mapping[str, dict[str, Any]] = {
    "topics": {  # multi-label; two labels always tie
        "architecture": "bert",
        "labels": ("sports", "politics", "science", "even", "equal"),
        "problem_type": "multi_label_classification",
        "max_position_embeddings": 32,
        "logits": (None, None, None, 0.25, 0.25),
    },
    "entailment": {  # pairs, distinguished by token types
        "architecture": "bert",
        "labels": ("entailment", "neutral", "contradiction"),
        "max_position_embeddings": 31,
    },
    "inference": {  # two labels of natural language inference
        "architecture": "bert",
        "labels": ("not_entailment", "entailment"),
        "max_position_embeddings": 48,
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
        "logits": (-120.0, 60.0, 60.0),
    },
}
"""`logits` are fixed logits for every text, None if they depend on the text."""


def make(name: str, folder: Path) -> Path:
    """Write one of the CHECKPOINTS into `folder`, and return the folder."""
    options = dict(CHECKPOINTS[name])
    weights = Weights(name, options.pop("logits", ()))
    return make_checkpoint(folder=folder, fill=weights.fill, **options)


def make_faulty(folder: Path) -> Path:
    """Write the checkpoint of the failing models, and return its folder."""
    return make_checkpoint("bert", folder, labels=STARS, fill=Weights("faulty").fill)


@dataclass(frozen=True)
class Weights:
    """The weights of one checkpoint."""

    checkpoint: str
    logits: Sequence[float | None] = ()

    def fill(self, name: str, parameter: torch.Tensor) -> None:
        """Set a weight; leaves other norms and biases unchanged."""
        values = None
        if parameter.dim() > 1:
            largest = CALM * deviation(name, parameter) * 3**0.5
            values = largest * uniform(f"{self.checkpoint}/{name}", parameter.numel())
            values = values.reshape(parameter.shape)
        if self.logits and name == "classifier.weight":
            values = values * np.array([[logit is None] for logit in self.logits])
        if self.logits and name == "classifier.bias":
            values = np.array([logit or 0.0 for logit in self.logits])
        if values is not None:
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def uniform(name: str, count: int) -> np.ndarray:
    """Return `count` numbers in [-1, 1), from a hash of name and index.

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
