"""When an engine runs small batches by CUDA graphs, and why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.engine.forward.buckets import buckets
from classwire_server.engine.forward.graphs import GraphedEngine
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.selection import graphs
from classwire_server.engine.selection.direct_use import DirectUse
from classwire_server.engine.selection.parity import ParityCheck, check_by_direct_use
from tests.engine.forward.test_graphs import Recorder

NONE = Deviation(10, 1.0, 0.0)


class Model:
    """A tiny BERT: its plain engine, and its check against direct use."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.config = ServerConfig(model=(f"m={folder}",), device="cpu", **settings)
        checkpoint, model, tokenizer = load_checkpoint(self.config.sources[0], self.config)
        self.parity_check: ParityCheck = check_by_direct_use(
            checkpoint, DirectUse(model, tokenizer)
        )
        self.grouped = GroupedEngine(model, checkpoint.input_names, "cpu")
        self.packed = PackedEngine(PackedModel(model, checkpoint.input_names), "cpu")

    def graphed(self, engine: Runner) -> tuple[GraphedEngine | None, str, str]:
        """The engine with graphs, the choice's value and its reason."""
        found, choice = graphs.graphed(engine, NONE, self.parity_check, self.config)
        assert choice.what == "CUDA graphs"
        return found, choice.value, choice.why


def recorded(engine: PackedEngine, longest: int) -> GraphedEngine:
    """Stands for `with_graphs` on a CUDA device."""
    return GraphedEngine(engine, buckets(longest), Recorder())


def test_same_scores(checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose scores stay as close gets graphs; the choice names the largest batch."""
    monkeypatch.setattr(graphs, "with_graphs", recorded)
    model = Model(checkpoint("bert"))
    found, value, _ = model.graphed(model.packed)
    assert found is not None
    assert value == "batches of up to 4096 tokens"


@pytest.mark.parametrize("wrong_from", [1, 2])
def test_other_scores(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, wrong_from: int
) -> None:
    """If batches of many texts or lone texts get other scores, there are no graphs."""

    class Wrong(GraphedEngine):
        def run(self, texts: PackedTexts) -> np.ndarray:
            logits = super().run(texts)
            if (len(texts.lengths) > 1) == (wrong_from > 1):
                logits += np.arange(logits.shape[1])
            return logits

    monkeypatch.setattr(
        graphs,
        "with_graphs",
        lambda engine, longest: Wrong(engine, buckets(longest), Recorder()),
    )
    model = Model(checkpoint("bert"))
    found, value, why = model.graphed(model.packed)
    assert (found, value) == (None, "no")
    assert "would move by" in why


def test_an_engine_that_is_not_packed(checkpoint: Callable[..., Path]) -> None:
    """Texts grouped by length have no graphs."""
    model = Model(checkpoint("bert"))
    assert model.graphed(model.grouped)[:2] == (None, "no")


def test_switched_off(checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --no-cuda-graphs nothing is recorded."""
    monkeypatch.setattr(graphs, "with_graphs", recorded)
    model = Model(checkpoint("bert"), cuda_graphs=False)
    assert model.graphed(model.packed) == (None, "no", "set by --no-cuda-graphs")


def test_a_device_that_records_none(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any failure of a recording leaves the plain engine, and is the reason."""

    def fail(engine: PackedEngine, longest: int) -> GraphedEngine:
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(graphs, "with_graphs", fail)
    model = Model(checkpoint("bert"))
    assert model.graphed(model.packed)[1:] == ("no", "called a synchronizing CUDA operation")
