"""A model whose packed scores are not its own is not packed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.engine.packed import PackedEngine
from classwire_server.lifecycle import Server
from classwire_server.tokenization import Encoding
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import in_a_batch, scores_by_id


def _run_on(self: PackedEngine, encoding: Encoding) -> Sequence[int]:
    return range(7, 7 + len(encoding.ids))


def _raise(self: PackedEngine, encoding: Encoding) -> Sequence[int]:
    raise RuntimeError("no positions today")


@pytest.mark.parametrize("positions", [_run_on, _raise])
def test_fallback_keeps_parity(
    checkpoint: Callable[..., Path],
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    monkeypatch: pytest.MonkeyPatch,
    positions: Callable[[PackedEngine, Encoding], Sequence[int]],
) -> None:
    """When packing gives wrong scores, or fails, the server says PADDED and scores are right."""
    monkeypatch.setattr(PackedEngine, "_positions", positions)
    channel = connect(serve(model=(f"bert={checkpoint('bert')}",)).target)
    model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=60).model
    assert model.engine.layout == pb.LAYOUT_PADDED
    assert model.deviation.max_score_difference <= 1e-5
    direct = Direct.load(checkpoint("bert"))
    scores = [scores_by_id(answer) for answer in in_a_batch(channel, TEXTS, "bert")]
    assert largest_difference(scores, [direct.scores(text) for text in TEXTS]) <= 1e-5
