"""The choice of a model's engine, and what the API reports about it."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Precision
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.selection import choice as selection
from classwire_server.engine.selection.choice import Selection, select
from classwire_server.errors import ConfigError
from classwire_server.server import Server

PRECISIONS = {
    "float32": pb.PRECISION_FLOAT32,
    "bfloat16": pb.PRECISION_BFLOAT16,
    "float16": pb.PRECISION_FLOAT16,
    "int8": pb.PRECISION_INT8,
}


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_precision_as_set(
    precision: str,
    checkpoint: Callable[..., Path],
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    few_texts: str,
) -> None:
    """A model runs in the configured precision, which the model and the answers report."""
    model = f"bert={checkpoint('bert')}"
    server = serve(model=(model,), precision=precision, calibration=few_texts, batch_tokens=256)
    channel = connect(server.target)
    served = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=60).model
    request = pb.ClassifyRequest(input=pb.TextInput(text="I really love this book"))
    answer = ClassifyServiceStub(channel).Classify(request, timeout=60)
    assert served.precision == answer.model.precision == PRECISIONS[precision]
    assert served.engine.layout == answer.model.engine.layout == pb.LAYOUT_PACKED
    difference = served.deviation.max_score_difference
    assert (difference <= 1e-5) == (precision == "float32")
    assert served.deviation.label_agreement > 0.8
    assert sum(score.score for score in answer.result.scores) == pytest.approx(1, abs=1e-6)


def test_regression_answers_that_lie_close_together(
    choose: Callable[..., Selection], checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A regression model whose answers hardly differ is packed and served: the tolerance allows for
    their rounding.
    """
    source = checkpoint("bert", problem_type="regression", labels=("score",))
    model: Any = transformers.BertForSequenceClassification.from_pretrained(source)
    with torch.no_grad():
        model.classifier.weight.mul_(1e-4)
        model.classifier.bias.fill_(3.0)
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    chosen = choose(model=(f"close={tmp_path}",))
    assert chosen.engine.traits.layout.value == "packed"
    assert chosen.parity_check.tolerance == pytest.approx(
        1e-5 * 3 / np.ptp(chosen.parity_check.logits), rel=1e-3
    )
    assert chosen.parity_check.tolerance > 1e-3


def test_int8_is_for_the_cpu(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error for int8 on another device names the setting."""
    monkeypatch.setattr(selection, "choose_device", lambda wanted: Choice("device", wanted, ""))
    config = ServerConfig(model=(f"bert={checkpoint('bert')}",), precision="int8", device="cuda:0")
    with pytest.raises(ConfigError, match=r"^--precision: int8 runs on the CPU only"):
        select(config.sources[0], config, "cuda:0")


def test_a_model_that_cannot_be_packed(
    choose: Callable[..., Selection], checkpoint: Callable[..., Path]
) -> None:
    """A model that cannot be packed runs in a lower precision too, in groups of equal length."""
    chosen = choose(model=(f"xlnet={checkpoint('xlnet')}",), precision="bfloat16")
    assert chosen.engine.traits.layout.value == "padded"
    assert not chosen.profile.is_shared
    assert chosen.engine.traits.precision is Precision.BFLOAT16
    assert chosen.deviation.max_score_difference > 1e-5
    assert chosen.deviation.label_agreement > 0.8


def test_the_float32_model_is_not_kept(
    checkpoint: Callable[..., Path], few_texts: str, tmp_path: Path
) -> None:
    """An int8 model keeps no float32 weight of a linear layer or embedding table, and does not keep
    the checkpoint's file open.
    """
    folder = shutil.copytree(checkpoint("bert"), tmp_path / "bert")
    config = ServerConfig(
        model=(f"bert={folder}",), precision="int8", batch_tokens=256, calibration=few_texts
    )
    _, float32, _ = load_checkpoint(config.sources[0], config)
    weights = sum(parameter.numel() for parameter in float32.parameters())
    del float32
    chosen = select(config.sources[0], config, "cpu")
    gc.collect()
    assert str(folder) not in Path("/proc/self/maps").read_text()
    kept = sum(parameter.numel() for parameter in chosen.engine.model.parameters())
    assert 0 < kept < 0.1 * weights


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[PackedTexts]:
    """The batches that packed engines have run."""
    batches: list[PackedTexts] = []
    original = PackedEngine.run

    def run(self: Any, texts: PackedTexts) -> np.ndarray:
        batches.append(texts)
        return original(self, texts)

    monkeypatch.setattr(PackedEngine, "run", run)
    return batches


def test_batches_as_set_or_as_measured(
    choose: Callable[..., Selection], ran: list[PackedTexts]
) -> None:
    """--batch-tokens sets the batch size; without it the latency profile decides."""
    assert choose(batch_tokens=77).batch_tokens == 77
    ran.clear()
    batch_tokens = choose(batch_tokens=0).batch_tokens
    assert {64, 128, batch_tokens} <= {len(texts.ids) for texts in ran}


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_profile_is_that_of_the_served_engine(
    choose: Callable[..., Selection], deterministic: bool, ran: list[PackedTexts]
) -> None:
    """With --deterministic each text is a pass of its own, also while passes are measured."""
    profile = choose(deterministic=deterministic).profile
    assert profile.is_shared is not deterministic
    assert (len(ran[-1].lengths) == 1) is deterministic  # the last of the largest passes
