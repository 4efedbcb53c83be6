"""A worker returns memory that it does not need while idle."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.memory import IdleAction, release_memory
from classwire_server.engine.worker.pool import launch
from classwire_server.tokenization import Truncation
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import encodings


def test_objects_alive_after_loading_are_exempt_from_collection() -> None:
    """Later garbage collections do not traverse them."""
    loaded = [object()]
    release_memory()
    try:
        assert gc.get_freeze_count()
        assert all(each is not loaded for each in gc.get_objects())
    finally:
        gc.unfreeze()


def test_the_idle_action_runs_after_work() -> None:
    """The action runs on its own thread each time that work has been followed by idle time."""
    done: SimpleQueue[str] = SimpleQueue()
    idle = IdleAction(lambda: done.put(threading.current_thread().name), 0.01)
    for _ in range(3):
        while not done.empty():
            done.get()
        idle.worked()
        assert done.get(timeout=PATIENCE_S) == "idle"


def test_a_worker_runs_its_idle_action_after_a_batch(
    checkpoint: Callable[..., Path], few_texts: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch counts as work. The idle action runs after it, and not before the first batch."""
    config = ServerConfig(model=(str(checkpoint("bert")),), device="cpu", calibration=few_texts)
    spawn = faults.spawn_with(faults.logs_when_idle)
    launched = launch(config.sources[0], config, lambda: None, spawn=spawn)
    try:
        assert "idle" not in caplog.messages
        launched.engine.infer(encodings(launched.checkpoint.tokenization(Truncation.REJECT))[:1])
        assert eventually(lambda: "idle" in caplog.messages)
    finally:
        launched.engine.close()
