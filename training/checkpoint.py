"""The stored form of the model: a folder that `from_pretrained` reads."""

from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer


def store(model: BertForSequenceClassification, folder: Path) -> None:
    """Write configuration and float16 weights beside the tokenizer's files."""
    torch.nn.Module.half(model)
    model.config.dtype = torch.float16
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written readable by its owner alone


def load(folder: Path) -> tuple[BertForSequenceClassification, BertTokenizer]:
    """Read model and tokenizer back as a server does: stored in float16, computed in float32."""
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), BertTokenizer.from_pretrained(folder)
