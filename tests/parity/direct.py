"""The reference scores: direct use of transformers, which the server must match."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

Pairable = str | tuple[str, str]

TEXTS: tuple[Pairable, ...] = (
    "I really love this book",
    "ok",
    "The hotel room was clean but the breakfast was cold and the staff rude. " * 9,
    "Terrible software: it crashed twice a day and lost all of my work!",
    "Das Buch ist gut. 这本书很好 🙂 €",
    "It's fine, I suppose; nothing special. " * 3,
    ("Is the book good?", "I really love this book, and the one before it was good as well."),
    ("The staff were rude. " * 12, "no"),
)
"""Lengths from 3 to a few hundred tokens, several scripts, single texts and pairs."""


@dataclass(frozen=True)
class Direct:
    """A checkpoint used directly: float32, no padding, one text at a time."""

    tokenizer: Any
    model: Any

    @staticmethod
    def load(folder: Path) -> "Direct":
        """Load a checkpoint as its users do, with weights taken to float32."""
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        )
        return Direct(transformers.AutoTokenizer.from_pretrained(folder), model.eval())

    @property
    def labels(self) -> list[str]:
        """The labels in the order of their ids."""
        config = self.model.config
        return [config.id2label[index] for index in range(config.num_labels)]

    @torch.inference_mode()
    def logits(self, text: Pairable) -> torch.Tensor:
        """Logits of one text or pair: (labels,)."""
        texts = text if isinstance(text, tuple) else (text,)
        inputs = self.tokenizer(*texts, return_tensors="pt")
        logits: torch.Tensor = copy.deepcopy(self.model)(**inputs).logits[0]  # may change itself
        return logits

    def scores(self, text: Pairable) -> list[float]:
        """Scores of one text or pair in the order of the label ids, by transformers' own rule."""
        logits, config = self.logits(text), self.model.config
        if config.problem_type == "regression":
            return logits.tolist()
        if config.problem_type == "multi_label_classification" or config.num_labels == 1:
            return logits.sigmoid().tolist()
        return logits.softmax(dim=-1).tolist()


def largest_difference(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> float:
    """The largest difference of any score: two times (texts, labels)."""
    return float((torch.tensor(left) - torch.tensor(right)).abs().max())
