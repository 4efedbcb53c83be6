"""ONNX Runtime on the same checkpoint, for comparison.

Needs the packages of the extra `bench`, preferably in a separate environment.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

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
        export(folder, file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(texts: Sequence[Encoding]) -> None:
        for batch in in_batches(texts, batch_texts):
            ids, mask = padded(batch)
            session.run(None, {"input_ids": ids, "attention_mask": mask})

    return run


def export(folder: Path, file: Path) -> None:
    """Write a checkpoint in float32 as ONNX, for any number and length of texts."""

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = BertForSequenceClassification.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32
            )

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = 1.0 - attention_mask[:, None, None].float()  # (texts, 1, 1, tokens)
            mask = hidden * torch.finfo(torch.float32).min  # the form that other engines fuse
            logits: torch.Tensor = self.model(input_ids, mask).logits
            return logits

    # Two tensors: of one tensor passed twice, the exporter makes one input.
    ids, mask = torch.full((2, 8), 7), torch.ones(2, 8, dtype=torch.int64)
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens", max=512)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warnings here are about its own code
        torch.onnx.export(
            Logits().eval(),
            (ids, mask),
            str(file),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=({0: texts, 1: tokens}, {0: texts, 1: tokens}),
            dynamo=True,
            verbose=False,
        )
