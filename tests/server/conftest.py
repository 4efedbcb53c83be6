"""What the tests of the engine share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from classwire_server.checkpoint import load_checkpoint
from classwire_server.config import ModelSource, ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.compile_process import Artefact, compile_elsewhere
from classwire_server.engine.packed import PackedModel


@dataclass(frozen=True)
class Compiled:
    """One tiny model that is compiled once."""

    source: ModelSource
    config: ServerConfig
    artefact: Artefact

    def load(self) -> PackedModel:
        """The plain model."""
        return PackedModel(load_checkpoint(self.source, self.config)[1])


@pytest.fixture(scope="session")
def compiled(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A BERT of one layer, and what `compile_elsewhere` made of it."""
    source = ModelSource("tiny", str(checkpoint("bert", num_hidden_layers=1)))
    config = ServerConfig(compile_cache=str(tmp_path_factory.mktemp("compiled") / "cache"))
    return Compiled(source, config, compile_elsewhere(source, config, Precision.FLOAT32))
