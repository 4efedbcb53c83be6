"""Servers with an admin service, and two checkpoints to swap."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.admin.operator import Operator
from tests.conftest import launch_forked
from tests.contract.engines import FakeEngine

Operate = Callable[[Server], Operator]


@pytest.fixture(scope="session")
def red(checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint whose labels are red and not red."""
    return checkpoint("bert", labels=("red", "not red"), seed=1)


@pytest.fixture(scope="session")
def blue(checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint whose labels are blue and not blue."""
    return checkpoint("bert", labels=("blue", "not blue"), seed=2)


@pytest.fixture(scope="session")
def broken(checkpoint: Callable[..., Path], blue: Path, tmp_path_factory: Any) -> dict[str, Path]:
    """Broken checkpoints, by a part of their error."""
    folder: Path = tmp_path_factory.mktemp("broken")
    headless = shutil.copytree(blue, folder / "headless")
    (headless / "model.safetensors").unlink()
    unlabelled = shutil.copytree(blue, folder / "unlabelled")
    config = json.loads((blue / "config.json").read_text())
    (unlabelled / "config.json").write_text(json.dumps(config | {"id2label": dict.fromkeys("01")}))
    return {
        "no such folder": folder / "nowhere",
        "label 0 of its id2label": unlabelled,
        "has no weights": headless,
        "not finite": checkpoint(
            "bert", fill=lambda name, weights: torch.nn.init.constant_(weights, float("nan"))
        ),
    }


@pytest.fixture(scope="session")
def server(red: Path) -> Iterator[Server]:
    """A shared server with one model m, which is red when a test begins."""
    config = ServerConfig(port=0, admin_port=0, model=(f"m={red}",), batch_tokens=512)
    with Server(config, launch_forked) as server:
        yield server


@pytest.fixture
def operate() -> Iterator[Operate]:
    """Opens channels to admin services for one test."""
    with ExitStack() as channels:

        def open(server: Server) -> Operator:
            channel = grpc.insecure_channel(server.admin_target)
            return Operator(channels.enter_context(channel))

        yield open


@pytest.fixture
def operator(server: Server, red: Path, operate: Operate) -> Iterator[Operator]:
    """The admin service of the shared server. Afterwards, the fixture restores its models."""
    operator = operate(server)
    yield operator
    names = {each.model.name for each in operator.status().models}
    if names != {"m"}:
        operator.default("m")
        for name in names - {"m"}:
            operator.unload(name)
    if operator.status().models[0].model.labels[0] != "red":
        operator.reload("m", red)


@pytest.fixture
def unanswered_admin() -> Iterator[str]:
    """An address that is bound but on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def fake(serve: Callable[..., Server], red: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers whose models run on these fake engines, in this order."""
    started: list[FakeEngine] = []

    def start(*engines: FakeEngine, **settings: Any) -> Server:
        started.extend(engines)
        left = iter(engines)

        def launch(*how: Any) -> Any:
            return next(left).launch(*how)

        return serve(launch, **{"model": (f"m={red}",), "admin_port": 0, **settings})

    yield start
    for engine in started:
        engine.release()
