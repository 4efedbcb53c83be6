"""ONNX Runtime on the same checkpoint, for comparison.

Needs the packages of the extra `bench`, preferably in a separate environment.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import BertForSequenceClassification

from classwire_server.tokenization import Encoding

from .batching import in_batches, padded


def prepare(folder: Path, cache: Path, batch_texts: int) -> Callable[[Sequence[Encoding]], None]:
    """Return an engine of one thread that pads batches of `batch_texts` texts.

    Exports the model on first use. Raises ImportError if ONNX Runtime is not installed.
    """
    import onnxruntime

    file = cache / "model.onnx"
    if not file.exists():
        _export(folder, file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(texts: Sequence[Encoding]) -> None:
        for batch in in_batches(texts, batch_texts):
            ids, mask = padded(batch)
            session.run(None, {"input_ids": ids, "attention_mask": mask})

    return run


def _export(folder: Path, file: Path) -> None:
    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = BertForSequenceClassification.from_pretrained(
                folder, attn_implementation="eager"
            ).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids, attention_mask).logits
            return logits

    ids = torch.from_numpy(np.ones((2, 8), np.int64))
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens", max=512)
    torch.onnx.export(
        Logits(),
        (ids, ids),
        str(file),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=({0: texts, 1: tokens}, {0: texts, 1: tokens}),
        dynamo=True,
        verbose=False,
    )
