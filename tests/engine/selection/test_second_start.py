"""Servers that start after one another, or together, with one cache folder."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.compiled import Compiled
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.selection.test_changed_files import forge, rewrite

STARTS_ON = "starts on the measurement in"


def entries(cache: Path) -> list[Path]:
    """The files of the measurements in a cache folder."""
    return list((cache / "measurements").glob("*.json"))


def model_of(channel: grpc.Channel) -> pb.Model:
    """The default model, as callers see it."""
    return ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=60).model


def test_a_second_server_serves_the_same(
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It does not measure, describes the same model, and gives the same scores. Its model counts
    with at least as much memory, though no large batch has run.
    """
    caplog.set_level(logging.INFO, "classwire_server")
    settings: dict[str, Any] = {
        "model": (f"bert={folder}",),
        "compile_cache": str(tmp_path / "cache"),
    }
    request = pb.ClassifyRequest(input=pb.TextInput(text="I really love this book"))
    models, results, memory_bytes = [], [], []
    for number in range(2):
        server = serve(**settings)
        channel = connect(server.target)
        models.append(model_of(channel))
        results.append(ClassifyServiceStub(channel).Classify(request, timeout=60).result)
        memory_bytes.append(server.registry.served("bert", "").memory_bytes)
        assert eventually(lambda: len(entries(tmp_path / "cache")) == 1)
        server.stop(0)
        assert caplog.text.count(STARTS_ON) == number
    for name in ("fingerprint", "deviation", "engine", "precision", "limits"):
        assert getattr(models[0], name) == getattr(models[1], name)
    assert results[0] == results[1]
    assert memory_bytes[1] >= memory_bytes[0] > 10e6  # more than weights alone


def test_servers_that_start_together(
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Servers that start at once on an empty cache all serve, and leave one measurement."""
    caplog.set_level(logging.INFO, "classwire_server")
    cache = tmp_path / "cache"

    def start(_: int) -> Server:
        return serve(model=(f"bert={folder}",), compile_cache=str(cache))

    with ThreadPoolExecutor(3) as starts:
        servers = [*starts.map(start, range(3), timeout=PATIENCE_S)]
    assert len({model_of(connect(server.target)).fingerprint for server in servers}) == 1
    assert eventually(lambda: len(entries(cache)) == 1)
    before = caplog.text.count(STARTS_ON)
    start(3)
    assert caplog.text.count(STARTS_ON) == before + 1


def test_contents_that_no_stamp_shows_are_not_served(
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    configure: Callable[..., ServerConfig],
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server ends the worker of a model whose fingerprint turns out to be another's. The next
    server measures, and serves it under its own.
    """
    config = configure()
    settings: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("model", "compile_cache", "batch_tokens", "calibration")
    }
    cache = tmp_path / "cache"
    old = model_of(connect(serve(**settings).target)).fingerprint
    assert eventually(lambda: len(entries(cache)) == 1)
    rewrite(folder)
    forge(entries(cache)[0], config)
    serve(**settings)
    assert eventually(lambda: "is not what it was at start" in caplog.text)
    assert "the contents of its files are not those that were measured" in caplog.text
    assert entries(cache) == []
    assert model_of(connect(serve(**settings).target)).fingerprint != old


@pytest.mark.timeout(300)  # the first test that needs the compiled model compiles it
def test_a_second_server_begins_compiled(
    compiled: Compiled,
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    tmp_path: Path,
) -> None:
    """After a server has changed over to the compiled engine, the next begins with it."""
    folder = compiled.artefact.folder
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    (cache / folder.name).symlink_to(folder)
    settings: dict[str, Any] = {
        "model": (f"tiny={compiled.source.location}",),
        "compile": True,
        "compile_cache": str(cache),
    }
    channel = connect(serve(**settings).target)
    assert eventually(lambda: model_of(channel).engine.execution == pb.EXECUTION_COMPILED)
    assert eventually(lambda: len(entries(cache)) == 1)
    channel = connect(serve(**settings).target)
    assert model_of(channel).engine.execution == pb.EXECUTION_COMPILED
    assert model_of(channel).deviation.max_score_difference <= 1e-5
