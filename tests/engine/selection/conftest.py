"""Fixtures for the tests of the selection."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.selection.choice import Selection, select
from classwire_server.engine.selection.direct_use import DirectUse
from classwire_server.engine.selection.engine_start import EngineStart
from classwire_server.tokenization import Text

Begin = Callable[..., EngineStart]


@pytest.fixture
def choose(checkpoint: Callable[..., Path], few_texts: str) -> Callable[..., Selection]:
    """Selects the engine of a tiny BERT in the test's own process."""

    def choose(**settings: Any) -> Selection:
        model = f"bert={checkpoint('bert')}"
        settings = {"model": (model,), "batch_tokens": 256, "calibration": few_texts, **settings}
        config = ServerConfig(**settings)
        return select(config.sources[0], config, "cpu")

    return choose


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A checkpoint that the test may change."""
    return shutil.copytree(checkpoint("bert"), tmp_path / "bert")


@pytest.fixture
def configure(folder: Path, few_texts: str, tmp_path: Path) -> Callable[..., ServerConfig]:
    """The settings of a tiny model, with a cache of the test's own."""

    def configure(**settings: Any) -> ServerConfig:
        given: dict[str, Any] = {
            "model": (f"bert={folder}",),
            "compile_cache": str(tmp_path / "cache"),
            "batch_tokens": 256,
            "calibration": few_texts,
            **settings,
        }
        return ServerConfig(**given)

    return configure


@pytest.fixture
def begin(configure: Callable[..., ServerConfig]) -> Begin:
    """Starts the engine of a tiny model, and settles: `begin(precision="int8")`."""

    def begin(*known: Any, anew: bool = False, **settings: Any) -> EngineStart:
        config = configure(**settings)
        start = EngineStart(config.sources[0], config, "cpu", *known, anew=anew)
        assert start.settle()
        return start

    return begin


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts that direct use has answered: none, if a start measures nothing."""
    texts: list[Text] = []
    original = DirectUse.attempt

    def attempt(self: DirectUse, text: Text, max_tokens: int) -> Any:
        texts.append(text)
        return original(self, text, max_tokens)

    monkeypatch.setattr(DirectUse, "attempt", attempt)
    return texts


@pytest.fixture
def entry_file(tmp_path: Path) -> Callable[[], Path]:
    """Returns the file of the only entry."""

    def only() -> Path:
        (path,) = (tmp_path / "cache" / "measurements").glob("*.json")
        return path

    return only
