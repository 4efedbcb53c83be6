"""Texts grouped by length, one batch for each length: for models that cannot be packed.

Texts of equal length need no padding and no mask, so any architecture computes the same as for one
text alone. On a CPU this is also faster than padding to the longest text.
"""

from inspect import signature
from itertools import pairwise

import numpy as np
import torch
from transformers import PreTrainedModel

from classwire_server.engine import EngineTraits, Execution, Layout, Precision
from classwire_server.engine.packing import PackedTexts


class GroupedEngine:
    """Runs any sequence classifier, one group of texts of equal length at a time.

    With `one_by_one` each text runs alone, as in plain use of transformers: the reference for other
    engines. `model` is on the device. Thread-safe, one thread for each lane.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        device: str,
        precision: Precision = Precision.FLOAT32,
        *,
        one_by_one: bool = False,
    ) -> None:
        self.traits = EngineTraits(device, precision, Execution.PLAIN, Layout.PADDED)
        self.model = model
        self._one_by_one = one_by_one or model.config.pad_token_id is None
        self._takes_token_types = "token_type_ids" in signature(model.forward).parameters

    @torch.inference_mode()
    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        lengths = texts.lengths  # (texts,)
        ends = np.flatnonzero(np.diff(lengths)) + 1  # (groups - 1,)
        if self._one_by_one:
            ends = np.arange(1, len(lengths))
        edges = [0, *ends.tolist(), len(lengths)]
        return np.concatenate(
            [self._run_group(texts, first, end) for first, end in pairwise(edges)]
        )

    def _run_group(self, texts: PackedTexts, first: int, end: int) -> np.ndarray:
        """Logits of the texts first:end, which have equal length: float32, (texts, labels)."""

        def rows(values: np.ndarray) -> torch.Tensor:
            equal = values[texts.bounds[first] : texts.bounds[end]].reshape(end - first, -1)
            return torch.from_numpy(equal).to(self.traits.device)  # (texts, tokens)

        ids = rows(texts.ids)  # (texts, tokens)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self._takes_token_types:
            inputs["token_type_ids"] = rows(texts.token_type_ids)  # (texts, tokens)
        logits: torch.Tensor = self.model(**inputs).logits  # (texts, labels)
        return logits.float().cpu().numpy()
