"""Workers for tests: forked, to save the import of torch, or in the test's own process."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    ANY_TIME,
    Deviation,
    EngineTraits,
    Launched,
    Logits,
    Terms,
    WorkerState,
)
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import pack
from classwire_server.engine.selection.choice import select
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.protocol import Link
from classwire_server.tokenization import Encoding

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.preloaded"])
_one_at_a_time = threading.Lock()  # guards exit codes: each is readable once, and a start reads all


class ForkedWorker:
    """A process forked from one that has imported torch and the models' code.

    `main` is the function that it runs: a worker's, or one with a fault.
    """

    def __init__(
        self,
        control: Link,
        links: Sequence[Link],
        main: Callable[[Link, Sequence[Link]], None] = worker.main,
    ) -> None:
        self._process = forks.Process(target=main, args=(control, links), daemon=True)
        with _one_at_a_time:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, once it has ended."""
        wait([self._process.sentinel], timeout_s)
        with _one_at_a_time:
            return self._process.exitcode


class InProcessEngine:
    """A worker's engine in the test's own process, where a test can change its parts."""

    lanes = 1
    is_up = True
    failure = ""
    workers: Sequence[WorkerState] = ()

    def __init__(self, runner: Runner, deviation: Deviation) -> None:
        self.traits: EngineTraits = runner.traits
        self.deviation = deviation
        self._runner = runner

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        texts = pack(encodings)
        return Logits(texts.unsorted(self._runner.run(texts)), self.traits, 0.0, time.monotonic())

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def launch_in_process(source: ModelSource, config: ServerConfig, on_change: Any) -> Launched:
    """Start a model as a worker does, in the test's own process."""
    selection = select(source, config, "cpu")
    runner = selection.finished(selection.engine)
    engine = InProcessEngine(runner, selection.deviation)
    return Launched(
        selection.checkpoint, engine, selection.batch_tokens, selection.profile, selection.choices
    )
