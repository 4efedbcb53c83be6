"""A server with a tiny model of each kind that reads windows, ranks, or classifies zero-shot."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Launched
from classwire_server.server import Server
from tests.conftest import launch_forked
from tests.contract.conftest import (  # noqa: F401
    _no_text_in_logs,
    bert,
    channel,
    fake,
    models,
)
from tests.contract.conftest import classifier as stub  # noqa: F401
from tests.contract.engines import FakeEngine
from tests.parity.direct import Direct

MAX_TEXTS = 12
MAX_WINDOWS = 8
"""Limits of the shared server: texts or windows of a call, and windows of a text."""

NLI = ("contradiction", "neutral", "entailment")


@pytest.fixture(scope="session")
def folders(checkpoint: Callable[..., Path]) -> dict[str, Path]:
    """The checkpoints by the names of their models."""
    return {
        "bert": checkpoint("bert"),
        "modernbert": checkpoint("modernbert"),
        "gpt2": checkpoint("gpt2"),
        "ranker": checkpoint("bert", labels=("relevant",)),
        "nli": checkpoint("roberta", labels=NLI),
        "binary": checkpoint("bert", labels=("not_entailment", "entailment")),
        "half": checkpoint("bert", labels=("Entailment", "neutral", "other")),
    }


def launch(source: ModelSource, config: ServerConfig, on_change: Callable[[], None]) -> Launched:
    """Start a model's engine; `half` needs none that computes."""
    if source.name == "half":
        return FakeEngine(logits=[0.0, 1.0, 2.0]).launch(source, config, on_change)
    return launch_forked(source, config, on_change)


@pytest.fixture(scope="session")
def server(folders: dict[str, Path], few_texts: str) -> Iterator[Server]:
    """A real server of all checkpoints, with small limits."""
    config = ServerConfig(
        port=0,
        model=tuple(f"{name}={folder}" for name, folder in folders.items()),
        calibration=few_texts,
        lanes=1,
        batch_tokens=1_024,
        max_texts_per_call=MAX_TEXTS,
        max_windows_per_text=MAX_WINDOWS,
        max_windows_per_call=MAX_TEXTS,
    )
    with Server(config, launch) as server:
        yield server


@pytest.fixture(scope="session")
def direct(folders: dict[str, Path]) -> Callable[[str], Direct]:
    """Loads a checkpoint by the name of its model, once, for direct use."""
    loaded: dict[str, Direct] = {}

    def load(name: str) -> Direct:
        if name not in loaded:
            loaded[name] = Direct.load(folders[name])
        return loaded[name]

    return load
