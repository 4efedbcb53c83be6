"""An instrument that writes an exchange: the model as ONNX, and the logits of transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertForSequenceClassification

from benchmarks import onnx_reference
from benchmarks.instrument import serve

from .exchange import Exchange, Ids


@torch.inference_mode()
def write(folder: str, into: str, texts: Sequence[Ids], calibration: Sequence[Ids]) -> None:
    """Write the exchange of a checkpoint's folder. Each text runs alone, so without padding."""
    target = Path(into)
    target.mkdir(parents=True, exist_ok=True)
    onnx = target / "model.onnx"
    if not onnx.exists():
        onnx_reference.export(Path(folder), onnx)
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    logits = [model(torch.tensor([ids])).logits[0].tolist() for ids in texts]
    Exchange(folder, str(onnx), texts, calibration, logits).write(target)


if __name__ == "__main__":
    serve({"write": write})
