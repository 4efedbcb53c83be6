"""The embedded checkpoint in int8 is as good as in float32 on the test products."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import EMBEDDED_FOLDER, ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.forward.int8 import quantize
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import pack
from classwire_server.tokenization import Encoding, Text, Truncation
from training.data import load_reviews, split_by_group
from training.evaluation import quality

DATA = os.environ.get("CLASSWIRE_TRAINING_DATA", "")
BATCH = 32


@pytest.mark.skipif(not DATA, reason="CLASSWIRE_TRAINING_DATA names no folder of the data")
def test_int8_is_within_half_a_point() -> None:
    """Shares of exact hits and of hits off by one are within 0.5 points of float32's."""
    reviews = split_by_group(load_reviews(Path(DATA))).test
    source = ModelSource("embedded", str(EMBEDDED_FOLDER))
    checkpoint, model, _ = load_checkpoint(source, ServerConfig())
    tokenization = checkpoint.tokenization(Truncation.DROP_END)
    encodings = [tokenization.encode(Text(r.full_text), None, field="") for r in reviews]
    truth = np.array([review.label for review in reviews])

    def predicted(precision: Precision) -> np.ndarray:
        engine = PackedEngine(PackedModel(model, checkpoint.input_names), "cpu", precision)
        labels = np.concatenate(list(_labels(engine, encodings)))
        engine.model.unpack()
        return labels

    float32 = quality(truth, predicted(Precision.FLOAT32))
    quantize(model)
    int8 = quality(truth, predicted(Precision.INT8))
    print(
        f"float32: {float32.rounded()}", f"int8:    {int8.rounded()}", sep="\n"
    )  # shown by pytest -s
    assert abs(int8.accuracy - float32.accuracy) <= 0.005
    assert abs(int8.off_by_one - float32.off_by_one) <= 0.005


def _labels(engine: PackedEngine, encodings: list[Encoding]) -> Iterator[np.ndarray]:
    for start in range(0, len(encodings), BATCH):
        texts = pack(encodings[start : start + BATCH])
        yield texts.unsorted(engine.run(texts)).argmax(axis=1)
