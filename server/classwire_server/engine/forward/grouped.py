"""Texts grouped by length, one batch for each length: for models that cannot be packed.

Texts of equal length need no padding, so any architecture computes the same as for one text alone.
On a CPU this is also faster than padding to the longest text.
"""

from collections.abc import Iterator, Set
from itertools import pairwise

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from classwire_server.engine import EngineTraits, Execution, Layout, Precision
from classwire_server.engine.packing import PackedTexts


class GroupedEngine:
    """Runs any sequence classifier, one group of texts of equal length at a time.

    `model` is on the device, `input_names` are those of the checkpoint. Thread-safe, one thread for
    each lane.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        input_names: Set[str],
        device: str,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        self.traits = EngineTraits(device, precision, Execution.PLAIN, Layout.PADDED)
        self.model = model
        self.input_names = input_names
        # Without a padding token, the models that read a text's last token take one text at a time.
        configs = (model.config, model.config.get_text_config())
        self._one_by_one = any(getattr(each, "pad_token_id", None) is None for each in configs)
        ends = [getattr(each, "eos_token_id", None) for each in configs]  # an id, several, or none
        self._end_ids = np.unique([id_ for end in ends if end is not None for id_ in np.ravel(end)])

    @torch.inference_mode()
    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        lengths = texts.lengths  # (texts,)
        edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        if self._one_by_one:
            edges = list(range(len(lengths) + 1))
        return np.concatenate(
            [self._run_group(texts, first, end) for first, end in pairwise(edges)]
        )

    def _run_group(self, texts: PackedTexts, first: int, end: int) -> np.ndarray:
        """Logits of the texts first:end, which have equal length: float32, (texts, labels).

        Models that read the last end token, such as BART, reject a batch whose texts have different
        numbers of them, so these run apart.
        """
        group = slice(texts.bounds[first], texts.bounds[end])
        ids = texts.ids[group].reshape(end - first, -1)  # (texts, tokens)
        type_ids = texts.token_type_ids[group].reshape(end - first, -1)  # (texts, tokens)
        end_tokens = np.isin(ids, self._end_ids).sum(axis=1)  # (texts,)
        order = np.argsort(end_tokens, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(end_tokens[order])) + 1)
        logits = np.concatenate([self._logits(ids[part], type_ids[part]) for part in parts])
        result = np.empty_like(logits)
        result[order] = logits
        return result

    def _logits(self, ids: np.ndarray, type_ids: np.ndarray) -> np.ndarray:
        """(texts, tokens) -> float32, (texts, labels)."""
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": type_ids,
        }
        fed = {
            name: torch.from_numpy(values).to(self.traits.device)
            for name, values in inputs.items()
            if name == "input_ids" or name in self.input_names
        }
        logits: torch.Tensor = self.model(**fed).logits  # (texts, labels)
        return logits.float().cpu().numpy()


def configs_of(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    """A model's config and all configs inside it, such as those of encoder and decoder."""
    yield config
    for value in vars(config).values():
        if isinstance(value, PretrainedConfig):
            yield from configs_of(value)
