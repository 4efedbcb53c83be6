"""Fixtures for the tests of the engine."""

import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.compilation.process import Artefact, compile_elsewhere
from classwire_server.engine.forward.packed import PackedModel
from classwire_server.engine.worker.pool import launch
from classwire_server.server import Server
from tests import faults
from tests.engine.worker.supervised import Start, Supervised
from tests.workers import Main


@dataclass(frozen=True)
class Compiled:
    """A tiny model, compiled once for all tests."""

    source: ModelSource
    config: ServerConfig
    artefact: Artefact

    def load(self) -> PackedModel:
        """The plain model."""
        checkpoint, model, _ = load_checkpoint(self.source, self.config)
        return PackedModel(model, checkpoint.input_names)


@pytest.fixture(scope="session")
def compiled(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A BERT of one layer, and its artefact from `compile_elsewhere`.

    The first of the test processes compiles it, and the others find it.
    """
    source = ModelSource("tiny", str(checkpoint("bert", num_hidden_layers=1)))
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    config = ServerConfig(compile_cache=str(folder / "compile-cache"))
    with (folder / "compile-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Compiled(source, config, compile_elsewhere(source, config, Precision.FLOAT32))


@pytest.fixture
def bert(checkpoint: Callable[..., Path]) -> str:
    """A tiny BERT, as a value of the `model` setting."""
    return f"bert={checkpoint('bert')}"


@pytest.fixture
def serve_with(serve: Callable[..., Server], bert: str) -> Callable[[Main], Server]:
    """Starts a server whose worker has a fault."""
    return lambda fault: serve(
        functools.partial(launch, spawn=faults.spawn_with(fault)),
        model=(bert,),
        batch_tokens=512,
    )


@pytest.fixture
def start(bert: str) -> Iterator[Start]:
    """Starts models: `start(faults.dies_at_once, worker.main, worker_timeout_s=1)`."""
    with ExitStack() as started:

        def start(*mains: Main, **settings: Any) -> Supervised:
            supervised = Supervised(faults.Succession(*mains), **{"model": (bert,), **settings})
            started.callback(supervised.engine.close)
            started.callback(supervised.spawn.gate.set)
            return supervised

        yield start
