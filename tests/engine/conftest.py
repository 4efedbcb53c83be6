"""Fixtures for the tests of the engine."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from classwire_server.engine.worker.pool import launch
from classwire_server.server import Server
from tests import faults
from tests.engine.worker.supervised import Start, Supervised
from tests.workers import Main


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
