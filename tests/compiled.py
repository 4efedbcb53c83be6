"""Compiled models, each compiled once for all tests."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.compilation.process import Artefact, compile_elsewhere
from classwire_server.engine.forward.packed import PackedModel
from classwire_server.engine.forward.precision import convert

TINY = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 128}
"""Sizes of a model that compiles fast. Its layers are large enough to be reordered in float32."""


@dataclass(frozen=True)
class Compiled:
    """A tiny model in one precision, and its artefact from `compile_elsewhere`."""

    source: ModelSource
    config: ServerConfig
    precision: Precision
    artefact: Artefact

    def load(self) -> PackedModel:
        """The plain model."""
        checkpoint, model, _ = load_checkpoint(self.source, self.config)
        convert(model, self.precision)
        return PackedModel(model, checkpoint.input_names)


def compile_once(
    checkpoint: Path, precision: Precision, temporary: pytest.TempPathFactory
) -> Compiled:
    """The compiled model of a checkpoint. The first of the test processes compiles it, and the
    others find it.
    """
    source = ModelSource("tiny", str(checkpoint))
    folder = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    config = ServerConfig(compile_cache=str(folder / "compile-cache"))
    with (folder / f"compile-lock-{precision.value}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Compiled(source, config, precision, compile_elsewhere(source, config, precision))
