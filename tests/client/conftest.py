"""Fixtures: a fake server, and both clients behind one blocking interface."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from classwire import AsyncClient, Client
from classwire.testing import FakeServer
from classwire.testing.services import ClassifyService
from classwire.v1 import classwire_pb2 as pb
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.conftest import launch_forked


def by_length(text: str, text_pair: str | None) -> dict[str, float]:
    """Return a classification whose scores depend on the lengths of text and pair."""
    return {"short": 1 / len(text), "long": 1 - 1 / len(text), "pair": 0.25 if text_pair else 0.0}


@pytest.fixture
def without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make fake servers answer as one of contract 1.0, which knows no windows and ignores their
    options.
    """
    classified = ClassifyService._classification

    def counting_none(*given: Any) -> pb.Classification:
        result = classified(*given)
        result.ClearField("window_count")
        return result

    monkeypatch.setattr(ClassifyService, "_classification", counting_none)
    monkeypatch.setattr("classwire.testing.services.in_force", lambda *_: False)


class Source:
    """A generator of texts that records how far it was read and whether it was closed."""

    def __init__(self, count: int = 1_000_000) -> None:
        self.given = 0
        self.closed = threading.Event()
        self.texts = self._texts(count)

    def _texts(self, count: int) -> Iterator[str]:
        try:
            for _ in range(count):
                self.given += 1
                yield "text"
        finally:
            self.closed.set()


class BlockingAsyncClient:
    """An AsyncClient with blocking methods, so that one test covers both clients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*args, **options)

    def __repr__(self) -> str:
        return repr(self._client)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._client, name)
        return lambda *args, **options: self._runner.run(method(*args, **options))

    def classify_stream(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Turn the async generator into a generator."""

        async def start() -> Any:
            return self._client.classify_stream(*args, **options)

        def results() -> Iterator[Any]:
            try:
                while True:
                    yield self._runner.run(anext(stream))
            except StopAsyncIteration:
                return
            finally:
                self._runner.run(stream.aclose())

        stream = self._runner.run(start())
        return results()

    def close(self) -> None:
        """Close the client."""
        self._runner.run(self._client.close())

    def stop(self) -> None:
        """Close the client and its event loop, and cancel the tasks left in it."""
        self.close()
        self._runner.close()


@pytest.fixture(scope="session")
def pair_models(checkpoint: Callable[..., Path]) -> dict[str, Path]:
    """Return the folders of two models of pairs: a reranker, and one of natural language
    inference.
    """
    labels = ("contradiction", "neutral", "entailment")
    return {
        "reranker": checkpoint("bert", labels=("relevance",)),
        "nli": checkpoint("bert", labels=labels),
    }


@pytest.fixture(scope="session")
def pairs_target(pair_models: dict[str, Path]) -> Iterator[str]:
    """Yield the address of a server with those two models."""
    sources = tuple(f"{name}={folder}" for name, folder in pair_models.items())
    with Server(ServerConfig(port=0, model=sources), launch_forked) as running:
        yield running.target


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server that answers by the length of the text."""
    with FakeServer(by_length) as running:
        yield running


@pytest.fixture(params=[Client, BlockingAsyncClient], ids=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a factory of clients of either kind; close them after the test."""
    with ExitStack() as clients:

        def make(*args: Any, **options: Any) -> Any:
            client = request.param(*args, **options)
            clients.callback(getattr(client, "stop", client.close))
            return client

        yield make


@pytest.fixture
def client(make_client: Callable[..., Any], server: FakeServer) -> Any:
    """Return a client of either kind, connected to the fake server."""
    return make_client(server.target)
