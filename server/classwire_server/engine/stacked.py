"""Texts of equal length stacked into rows: for models that cannot be packed.

Equal lengths need neither padding nor a mask, so any architecture computes what it computes for one
text alone. On a CPU this is also faster than padding to the longest, which computes the padding.
"""

from collections import defaultdict
from collections.abc import Sequence
from inspect import signature

import numpy as np
import torch
from transformers import PreTrainedModel

from ..tokenization import Encoding
from . import EngineTraits, Execution, Layout, Precision


class StackedEngine:
    """Runs any sequence classifier, one group of equally long texts at a time.

    With `one_by_one` each text runs alone: plain transformers use, what other engines are measured
    by.
    """

    def __init__(self, model: PreTrainedModel, device: str, *, one_by_one: bool = False) -> None:
        self.traits = EngineTraits(device, Precision.FLOAT32, Execution.PLAIN, Layout.PADDED)
        self._model = model.to(device)  # type: ignore[arg-type]
        self._one_by_one = one_by_one or model.config.pad_token_id is None
        self._takes_token_types = "token_type_ids" in signature(model.forward).parameters

    @torch.inference_mode()
    def infer(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Logits of the texts: float32, (texts, labels)."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, encoding in enumerate(encodings):
            groups[len(encoding.ids), index if self._one_by_one else 0].append(index)
        logits = np.empty((len(encodings), self._model.config.num_labels), dtype=np.float32)
        for indices in groups.values():
            logits[indices] = self._infer_equal([encodings[index] for index in indices])
        return logits

    def close(self) -> None:
        """Nothing to give back but the model itself."""

    def _infer_equal(self, encodings: Sequence[Encoding]) -> np.ndarray:
        device = self.traits.device
        ids = torch.tensor([list(e.ids) for e in encodings], device=device)  # (texts, tokens)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self._takes_token_types:
            types = [list(e.token_type_ids) for e in encodings]
            inputs["token_type_ids"] = torch.tensor(types, device=device)
        logits: torch.Tensor = self._model(**inputs).logits  # (texts, labels)
        return logits.float().cpu().numpy()
