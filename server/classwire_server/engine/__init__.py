"""The seam between serving and the device: encodings in, logits out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from ..tokenization import Encoding


class Precision(Enum):
    """Arithmetic of the forward pass."""

    FLOAT32 = "float32"


class Execution(Enum):
    """How the model's operators are run."""

    PLAIN = "plain"


class Layout(Enum):
    """How the texts of a batch lie side by side."""

    PACKED = "packed"
    PADDED = "padded"


@dataclass(frozen=True)
class EngineTraits:
    """What runs the forward pass, as callers see it; `device` as in "cpu" or "cuda:0"."""

    device: str
    precision: Precision
    execution: Execution
    layout: Layout


class Engine(Protocol):
    """Runs the model. Called by one thread at a time."""

    traits: EngineTraits

    def infer(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Logits of the texts, in their order: float32, (texts, labels).

        A row depends on its own text alone. Any exception means that no text of the batch has an
        answer.
        """
        ...

    def close(self) -> None:
        """Give the device back."""
        ...
