"""Faults of the engine: of a real model's process, or of a fake engine."""

import functools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from classwire import ClasswireError, Client
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, Launched, WorkerState
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.forking import ForkedWorker
from classwire_server.engine.worker.pool import launch
from classwire_server.engine.worker.protocol import Link
from classwire_server.server import Server
from tests.contract.engines import FakeEngine, eventually
from tests.workers import fork

from .subjects import TIMEOUT_S, Subject

_run = PackedEngine.run
_held: list[np.ndarray] = []

LEAK_BYTES = 600_000_000
LONG = "good " * 400


def leaks_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """Run a worker that leaks memory on long texts."""

    def run(self: PackedEngine, packed: PackedTexts) -> np.ndarray:
        if len(packed.ids) > 300 and len(np.unique(packed.ids)) < 5 and not _held:
            _held.append(np.ones(LEAK_BYTES, np.uint8))
        return _run(self, packed)

    PackedEngine.run = run  # type: ignore[method-assign,assignment]
    worker.main(control, links)


def _worker(server: Server) -> WorkerState:
    [state] = server.registry.served("", "model").engine.workers
    return state


class KilledWorker(Subject):
    """A model's process that is killed three times under load; the third time its replacement
    never starts.
    """

    alerts = ("ClasswireWorkerRestarts", "ClasswireWorkerDown", "ClasswireModelFailed")

    def __init__(self, checkpoint: Path) -> None:
        self._may_start = threading.Event()
        self._may_start.set()
        super().__init__(
            checkpoint, functools.partial(launch, spawn=self._spawn), cache_mb=1, batch_tokens=512
        )
        self._client = self._ends.enter_context(Client(self.server.target, timeout_s=5))
        for act in (self._one, self._batch, self._stream):
            self.loop(act)

    def provoke(self) -> None:
        """Kill it three times."""
        for restarts in (1, 2):
            os.kill(_worker(self.server).pid, signal.SIGKILL)
            assert eventually(lambda n=restarts: self._has_restarted(n))  # type: ignore[misc]
        self._may_start.clear()
        os.kill(_worker(self.server).pid, signal.SIGKILL)

    def mend(self) -> None:
        """Let another start."""
        self._may_start.set()

    def _has_restarted(self, times: int) -> bool:
        state = _worker(self.server)
        return state.is_up and state.restarts == times

    def _spawn(self, control: Link, links: Sequence[Link]) -> ForkedWorker:
        assert self._may_start.wait(TIMEOUT_S)
        return fork(control, links)

    def _one(self) -> None:
        with suppress(ClasswireError):
            self._client.classify("I love it")

    def _batch(self) -> None:
        with suppress(ClasswireError):
            self._client.classify_batch(["good", "book", "love", "good"])

    def _stream(self) -> None:
        with suppress(ClasswireError):
            list(self._client.classify_stream(f"number {n}" for n in range(20)))


class LeakingWorker(Subject):
    """A model's process that holds 600 MB more than before, until it is replaced."""

    alerts = ("ClasswireMemoryGrows",)

    def __init__(self, checkpoint: Path) -> None:
        spawn = functools.partial(fork, main=leaks_on_long_texts)
        super().__init__(checkpoint, functools.partial(launch, spawn=spawn), batch_tokens=512)

    def provoke(self) -> None:
        """Let it leak."""
        self.call(LONG)

    def mend(self) -> None:
        """Kill it."""
        os.kill(_worker(self.server).pid, signal.SIGKILL)


class Defective(Subject):
    """An engine that fails on one text, dies on another, and differs from float32 by more than
    the limit.
    """

    alerts = (
        "ClasswireErrors",
        "ClasswireInternalErrors",
        "ClasswirePoisonInput",
        "ClasswireDeviation",
    )

    def __init__(self, checkpoint: Path) -> None:
        self._engine = FakeEngine()
        super().__init__(checkpoint, self._engine.launch)

    def provoke(self) -> None:
        """Send those texts."""
        self._engine.deviation = Deviation(128, 0.9, 0.1)
        for words in ("boom", "deadly", "good"):
            self.loop(lambda words=words: self.call(words))  # type: ignore[misc]

    def mend(self) -> None:
        """Send no more of them."""
        self.end_loops()
        self._engine.deviation = Deviation(128, 1.0, 0.0)


class StuckLoading(Subject):
    """A model that is not ready, from the start."""

    alerts = ("ClasswireModelLoading",)

    def __init__(self, checkpoint: Path) -> None:
        self._may_load = threading.Event()
        super().__init__(checkpoint, self._slowly)

    def start(self) -> None:
        """Start to load."""
        self.server.listen()
        self._loading = threading.Thread(target=self.server.load, daemon=True)
        self._loading.start()

    def provoke(self) -> None:
        """Do nothing: the fault exists from the start."""

    def mend(self) -> None:
        """Let the loading end."""
        self._may_load.set()
        self._loading.join(TIMEOUT_S)

    def _slowly(
        self, source: ModelSource, config: ServerConfig, on_change: Callable[[], None]
    ) -> Launched:
        assert self._may_load.wait(TIMEOUT_S)
        return FakeEngine().launch(source, config, on_change)
