"""Fixtures: real servers, shared by the tests of a session."""

import functools
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from transformers.utils import logging as transformers_logging

from classwire_server.config.server_config import EMBEDDED_FOLDER, ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.selection.calibration import calibration_texts
from classwire_server.engine.worker.pool import launch
from classwire_server.registry.loader import Launch
from classwire_server.server import Server
from tests.checkpoints import make_checkpoint
from tests.compiled import TINY, Compiled, compile_once
from tests.workers import fork

transformers_logging.disable_progress_bar()
torch.set_num_threads(1)  # more threads slow down models this small

# Every start measures: a file is where the folder of earlier measurements would be. Tests of them
# name a folder of their own.
_caches = tempfile.TemporaryDirectory(prefix="classwire-caches-")
Path(_caches.name, "classwire").touch()
os.environ["XDG_CACHE_HOME"] = _caches.name

# A shell's background jobs ignore SIGINT, and so would the commands that tests start from one.
signal.signal(signal.SIGINT, signal.default_int_handler)

launch_forked = functools.partial(launch, spawn=fork)
"""Starts models in forked worker processes, which is faster than a server's own start."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that may take longest, so that all processes end at about one time."""

    def patience_s(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        return float(mark.args[0]) if mark else 0.0

    items.sort(key=patience_s, reverse=True)


@pytest.fixture(scope="session")
def embedded_folder() -> Path:
    """Return the folder of the embedded checkpoint."""
    return EMBEDDED_FOLDER


@pytest.fixture(scope="session")
def target() -> Iterator[str]:
    """Yield the address of a server with the embedded checkpoint and default settings."""
    with Server(ServerConfig(port=0), launch_forked) as server:
        yield server.target


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a factory of tiny random checkpoints, cached: `checkpoint("bert", labels=("a",
    "b"))`.
    """
    made: dict[str, Path] = {}

    def make(architecture: str, **options: Any) -> Path:
        key = repr((architecture, sorted(options.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp(architecture)
            made[key] = make_checkpoint(architecture, folder, **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def compiled(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Return a compiled BERT of one layer in float32."""
    return compile_once(checkpoint("bert", **TINY), Precision.FLOAT32, tmp_path_factory)


@pytest.fixture(scope="session")
def compiled_int8(
    checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Compiled:
    """Return a compiled BERT of one layer in int8."""
    return compile_once(checkpoint("bert", **TINY), Precision.INT8, tmp_path_factory)


@pytest.fixture(scope="session")
def few_texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a short calibration file, for tests where its length does not matter."""
    file = tmp_path_factory.mktemp("calibration") / "texts.txt"
    file.write_text("\n".join(text.text for text in calibration_texts()[:100:10]), "utf-8")
    return str(file)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a function that starts servers: `serve(model=(str(folder),), max_streams=1)`."""
    with ExitStack() as servers:

        def start(launch: Launch = launch_forked, **settings: Any) -> Server:
            return servers.enter_context(Server(ServerConfig(port=0, **settings), launch))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[[str], grpc.Channel]]:
    """Return a function that opens channels."""
    with ExitStack() as channels:
        yield lambda target: channels.enter_context(grpc.insecure_channel(target))


@pytest.fixture
def unanswered_target() -> Iterator[str]:
    """Yield an address that is bound, and where no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
