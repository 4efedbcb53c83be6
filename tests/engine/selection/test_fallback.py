"""A model that packing gives wrong scores is not packed."""

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.server import Server
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import in_a_batch, scores_by_id
from tests.workers import launch_in_process


def _constant(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
    return np.full(len(texts.ids), 7)


def _raise(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
    raise RuntimeError("no positions today")


@pytest.mark.parametrize("positions", [_constant, _raise])
def test_fallback_keeps_parity(
    checkpoint: Callable[..., Path],
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    monkeypatch: pytest.MonkeyPatch,
    positions: Callable[[PackedEngine, PackedTexts], np.ndarray],
) -> None:
    """If packing gives wrong scores or fails, the server reports PADDED, and scores are right."""
    monkeypatch.setattr(PackedEngine, "position_ids", positions)
    channel = connect(serve(launch_in_process, model=(f"bert={checkpoint('bert')}",)).target)
    model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=60).model
    assert model.engine.layout == pb.LAYOUT_PADDED
    assert model.deviation.max_score_difference <= 1e-5
    direct = Direct.load(checkpoint("bert"))
    scores = [scores_by_id(answer) for answer in in_a_batch(channel, TEXTS, "bert")]
    assert largest_difference(scores, [direct.scores(text) for text in TEXTS]) <= 1e-5
