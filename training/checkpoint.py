"""Stores the model as a folder that `from_pretrained` reads."""

from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer

from training.finetuning import Classifier


def store(classifier: Classifier, folder: Path) -> None:
    """Write the tokenizer's files, the configuration and the weights in float16.

    The classifier itself is of float16 afterwards.
    """
    model, tokenizer = classifier.model, classifier.tokenizer
    torch.nn.Module.half(model)
    model.config.dtype = torch.float16
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it readable by its owner only
    tokenizer.save_pretrained(folder)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")


def load(folder: Path) -> Classifier:
    """Load model and tokenizer as a server does: stored in float16, computed in float32."""
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return Classifier(model.eval(), BertTokenizer.from_pretrained(folder))
