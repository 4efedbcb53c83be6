"""Stores the model as a folder that `from_pretrained` reads."""

from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer

from training.finetuning import Classifier


def store(model: BertForSequenceClassification, folder: Path) -> None:
    """Write configuration and float16 weights next to the tokenizer's files."""
    torch.nn.Module.half(model)
    model.config.dtype = torch.float16
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it readable by its owner only


def load(folder: Path) -> Classifier:
    """Load model and tokenizer as a server does: stored in float16, computed in float32."""
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return Classifier(model.eval(), BertTokenizer.from_pretrained(folder))
