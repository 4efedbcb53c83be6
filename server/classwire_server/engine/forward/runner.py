"""The interface of the engines inside a worker."""

from typing import Protocol

import numpy as np

from classwire_server.engine import EngineTraits
from classwire_server.engine.packing import PackedTexts


class Runner(Protocol):
    """Runs a model in its worker. Thread-safe, one thread for each lane."""

    traits: EngineTraits

    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        ...


class OneByOne:
    """Runs each text alone: the same shapes give the same bits, whatever else is in the batch."""

    def __init__(self, runner: Runner) -> None:
        self.traits = runner.traits
        self._runner = runner

    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        alone = (texts.texts(index, index + 1) for index in range(len(texts.lengths)))
        return np.concatenate([self._runner.run(text) for text in alone])
