"""Servers whose engine gives the labels that a test asks for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.registry.predictions.engine import NumberedEngine


class Numbered:
    """A server with metrics and a NumberedEngine, and calls to it."""

    def __init__(self, ends: ExitStack, engine: NumberedEngine, **settings: Any) -> None:
        config = ServerConfig(port=0, metrics_port=0, **settings)
        self.server = ends.enter_context(Server(config, engine.launch))
        self.channel = ends.enter_context(grpc.insecure_channel(self.server.target))
        self.stub = ClassifyServiceStub(self.channel)


@pytest.fixture(scope="session")
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT with five labels."""
    return checkpoint("bert")


@pytest.fixture(scope="module")
def numbered() -> Iterator[Callable[..., Numbered]]:
    """Start servers: `numbered(model=(f"m={folder}",))`."""
    with ExitStack() as ends:

        def start(engine: NumberedEngine | None = None, **settings: Any) -> Numbered:
            return Numbered(ends, engine or NumberedEngine(), **settings)

        yield start
