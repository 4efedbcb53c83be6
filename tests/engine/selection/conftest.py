"""Fixtures for the tests of the selection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.selection.choice import Selection, select


@pytest.fixture
def choose(checkpoint: Callable[..., Path], few_texts: str) -> Callable[..., Selection]:
    """Selects the engine of a tiny BERT in the test's own process."""

    def choose(**settings: Any) -> Selection:
        model = f"bert={checkpoint('bert')}"
        settings = {"model": (model,), "batch_tokens": 256, "calibration": few_texts, **settings}
        config = ServerConfig(**settings)
        return select(config.sources[0], config, "cpu")

    return choose
