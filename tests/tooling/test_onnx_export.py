"""The ONNX file that the benchmark gives to other engines."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.onnx_reference import export
from benchmarks.peers.model import padded


def test_the_exported_model_computes_what_transformers_computes(tmp_path: Path) -> None:
    """Other engines get the model itself: logits of a padded batch equal those of each text alone
    in transformers.
    """
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    export(tmp_path, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    texts = [[2, 30, 31, 32, 3], [2, 40, 3]]
    ids, mask = padded(texts)
    (logits,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        alone = [model(torch.tensor([text])).logits[0].numpy() for text in texts]
    assert logits == pytest.approx(np.stack(alone), abs=1e-5)
