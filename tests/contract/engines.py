"""An engine without a model, for behaviour that a real engine shows only by chance."""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.model import ModelSettings
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    ANY_TIME,
    Deviation,
    EngineTraits,
    Execution,
    Launched,
    Layout,
    Logits,
    Precision,
    Terms,
    WorkerState,
)
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import NoWorker, WorkerLost
from classwire_server.tokenization import Encoding

PATIENCE_S = 20.0
"""Timeout of every wait; a test that reaches it fails."""

LOGITS = (0.0, 1.0, 2.0, 3.0, 4.0)

PROFILE = LatencyProfile((16, 1_024), (0.001, 0.064))
"""The profile of an engine whose cost per token is constant: larger batches gain nothing."""


class FakeEngine:
    """Gives every text the same logits; words in the texts change what it does.

    `slow` waits for `release()`; `boom` raises an exception that quotes the text; `nan` gives NaN;
    `deadly` loses the worker. Between `lose()` and `come_back()` there is no worker.
    """

    def __init__(self, logits: Sequence[float] = LOGITS) -> None:
        self.lanes = 1
        self.traits = EngineTraits("cpu", Precision.FLOAT32, Execution.PLAIN, Layout.PADDED)
        self.deviation = Deviation(0, 1.0, 0.0)
        self.failure = ""
        self.workers: Sequence[WorkerState] = ()
        self.batches: list[list[str]] = []
        self.urgent: list[bool] = []
        self.yielding: list[bool] = []
        self.settled: list[bool] = []
        self.closed = False
        self._logits = logits
        self._released = threading.Event()
        self._changed = threading.Condition()
        self._on_change: list[Callable[[], None]] = []

    @property
    def is_up(self) -> bool:
        """Whether it has a worker."""
        return not self.failure

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        if self.failure:
            raise NoWorker
        texts = [encoding.source.text for encoding in encodings]
        with self._changed:
            self.batches.append(texts)
            self.urgent.append(terms.urgent)
            self.yielding.append(terms.yields)
            self.settled.append(terms.settled)
            self._changed.notify_all()
        if any("slow" in text for text in texts):
            assert self._released.wait(PATIENCE_S)
        if any("boom" in text for text in texts):
            raise ValueError(f"cannot compute {texts}")
        if any("deadly" in text for text in texts):
            raise WorkerLost(is_alone=True)
        rows = [[np.nan] * len(self._logits) if "nan" in t else self._logits for t in texts]
        return Logits(np.array(rows, dtype=np.float32), self.traits, 0.0, time.monotonic())

    def close(self) -> None:
        """Note that the engine was closed."""
        self.closed = True

    def lose(self, why: str = "its process was killed") -> None:
        """Lose the worker."""
        self._become(why)

    def come_back(self) -> None:
        """Get a worker again."""
        self._become("")

    def _become(self, failure: str) -> None:
        self.failure = failure
        for tell in self._on_change:
            tell()

    def release(self) -> None:
        """Let all slow texts finish."""
        self._released.set()

    @property
    def texts(self) -> list[str]:
        """All texts that the engine received, in order."""
        return [text for batch in self.batches for text in batch]

    def wait_for(self, condition: Callable[["FakeEngine"], bool]) -> None:
        """Wait until the engine satisfies a condition."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), PATIENCE_S)

    def launch(
        self, source: ModelSource, config: ServerConfig, on_change: Callable[[], None]
    ) -> Launched:
        """The `launch` of a Server: a real checkpoint with this engine."""
        self._on_change.append(on_change)
        checkpoint = _checkpoint(source, config)
        return Launched(checkpoint, self, config.batch_tokens or 1_024, PROFILE)


def _checkpoint(source: ModelSource, config: ServerConfig) -> Checkpoint:
    """Load a checkpoint, once for all servers while its folder and their settings are the same."""
    settings = {field.name: getattr(config, field.name) for field in fields(ModelSettings)}
    alike = ServerConfig(max_tokens=config.max_tokens, **settings)
    files = sorted(Path(source.location).rglob("*"))
    return _loaded(source, alike, tuple((path, _version(path)) for path in files))


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.cache
def _loaded(source: ModelSource, config: ServerConfig, files: object) -> Checkpoint:
    return load_checkpoint(source, config).checkpoint


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Poll a condition; whether it becomes true in time."""
    tick = threading.Event()
    return any(condition() or tick.wait(0.01) for _ in range(int(patience_s / 0.01)))


def readers() -> list[threading.Thread]:
    """The threads that read streams."""
    return [thread for thread in threading.enumerate() if thread.name == "stream-reader"]
