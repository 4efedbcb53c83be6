"""Memory that a worker does not need while it has nothing to do."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.memory import Rest, give_back
from classwire_server.engine.worker.pool import launch
from classwire_server.tokenization import Truncation
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import encodings


def test_what_is_in_use_after_loading_is_looked_at_no_more() -> None:
    """No later search for garbage goes through it."""
    loaded = [object()]
    give_back()
    try:
        assert gc.get_freeze_count()
        assert all(each is not loaded for each in gc.get_objects())
    finally:
        gc.unfreeze()


def test_what_is_done_at_rest_is_done_after_work_alone() -> None:
    """Nothing is done before there was work, and something each time that work has ended."""
    done: SimpleQueue[str] = SimpleQueue()
    rest = Rest(lambda: done.put(threading.current_thread().name), 0.01)
    for _ in range(3):
        while not done.empty():
            done.get()
        rest.worked()
        assert done.get(timeout=PATIENCE_S) == "rest"


def test_a_worker_rests_when_it_has_computed(
    checkpoint: Callable[..., Path], few_texts: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each batch of a worker is work; what is to be done at rest comes after it, not before."""
    config = ServerConfig(model=(str(checkpoint("bert")),), device="cpu", calibration=few_texts)
    spawn = faults.spawn_with(faults.says_that_it_rests)
    launched = launch(config.sources[0], config, lambda: None, spawn=spawn)
    try:
        assert "at rest" not in caplog.messages
        launched.engine.infer(encodings(launched.checkpoint.tokenization(Truncation.REJECT))[:1])
        assert eventually(lambda: "at rest" in caplog.messages)
    finally:
        launched.engine.close()
