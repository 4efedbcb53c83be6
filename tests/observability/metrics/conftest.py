"""Servers with metrics."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.server import Server
from tests.conftest import launch_forked
from tests.contract.engines import FakeEngine

Observed = Callable[..., Server]


@pytest.fixture(scope="session")
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT with five labels."""
    return checkpoint("bert")


@pytest.fixture(scope="session")
def served(bert: Path) -> Iterator[Server]:
    """A shared server with a real worker."""
    with Server(
        ServerConfig(port=0, metrics_port=0, model=(f"tiny={bert}",), batch_tokens=512),
        launch_forked,
    ) as server:
        yield server


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that a test can block."""
    engine = FakeEngine()
    engine.deviation = Deviation(10, 0.9, 0.01)
    yield engine
    engine.release()


@pytest.fixture
def observed(serve: Callable[..., Server], bert: Path, engine: FakeEngine) -> Observed:
    """Starts a server with the fake engine: `observed(cache_mb=1)`."""

    def start(**settings: Any) -> Server:
        given = {"model": (f"tiny={bert}",), "metrics_port": 0, **settings}
        return serve(engine.launch, **given)

    return start
