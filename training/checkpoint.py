"""The stored form of the model: a folder that `from_pretrained` reads."""

from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer


def store(model: BertForSequenceClassification, folder: Path) -> None:
    """Write configuration and weights in float16; the tokenizer's files already stand in the folder."""
    torch.nn.Module.half(model)
    model.config.dtype = torch.float16
    model.save_pretrained(folder)


def load(folder: Path) -> tuple[BertForSequenceClassification, BertTokenizer]:
    """Read model and tokenizer back as a server does: the stored float16 weights, computed in float32."""
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), BertTokenizer.from_pretrained(folder)
