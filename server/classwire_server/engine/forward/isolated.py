"""Each text alone, on a fresh copy of the model: for models that change while they run.

Rotary frequencies may follow the longest text so far, BigBird turns to full attention for good
after a short text, and Reformer draws from torch's global generator. A copy shares the weights, so
it costs little.
"""

import copy
import threading

import numpy as np
from transformers import PretrainedConfig, PreTrainedModel

from classwire_server.engine.packing import PackedTexts

from .grouped import GroupedEngine, configs_of

_ONE_PASS = threading.Lock()
"""Held during each pass, since a model may seed and read torch's global generator."""


class IsolatedEngine(GroupedEngine):
    """Runs any sequence classifier, one text at a time, as if each were its first. Thread-safe."""

    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        alone = (texts.texts(index, index + 1) for index in range(len(texts.lengths)))
        with _ONE_PASS:
            return np.concatenate([self._on_a_fresh_copy(text) for text in alone])

    def _on_a_fresh_copy(self, text: PackedTexts) -> np.ndarray:
        model, traits = fresh_copy(self.model), self.traits
        return GroupedEngine(model, self.input_names, traits.device, traits.precision).run(text)


def fresh_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model that shares its weights, with its own buffers and other state."""
    return copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})


def keeps_state(model: PreTrainedModel) -> bool:
    """Whether the config names a feature for which the model changes with the texts that it ran.

    The features are those of transformers 5.23.0: `dynamic_rope_update` in
    modeling_rope_utils.py, and block-sparse attention in models/big_bird.
    """
    return any(map(_names_state, configs_of(model.config)))


def _names_state(config: PretrainedConfig) -> bool:
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    parts = (rope, *(part for part in rope.values() if isinstance(part, dict)))
    kinds = {part.get("rope_type", part.get("type")) for part in parts}
    is_sparse = getattr(config, "attention_type", "") == "block_sparse"
    return is_sparse or not kinds.isdisjoint(("dynamic", "longrope"))
