"""Worker processes with faults, each a replacement for `worker.main`."""

import functools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classwire_server.checkpoint.loading import ReadCheckpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.forward import device, preemption
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.selection import changeover
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker import memory
from classwire_server.engine.worker.forking import ForkedWorker
from classwire_server.engine.worker.protocol import Link, Refused, Settled, receive, send
from classwire_server.errors import StartError
from tests.contract.engines import PATIENCE_S, eventually
from tests.workers import Main, fork

_run = PackedEngine.run


def spawn_with(main: Main) -> Callable[[Link, Sequence[Link]], ForkedWorker]:
    """Make a spawn function whose workers run `main`."""
    return functools.partial(fork, main=main)


class Succession:
    """A spawn function that runs each of the mains in turn, and the last one from then on.

    `workers` are the started workers. Each start waits until `gate` is set.
    """

    def __init__(self, *mains: Main) -> None:
        self.workers: list[ForkedWorker] = []
        self.gate = threading.Event()
        self.gate.set()
        self._mains = mains

    def __call__(self, control: Link, links: Sequence[Link]) -> ForkedWorker:
        """Start the next worker."""
        assert self.gate.wait(PATIENCE_S)
        main = self._mains[min(len(self.workers), len(self._mains) - 1)]
        self.workers.append(fork(control, links, main))
        return self.workers[-1]


def _serve(control: Link, links: Sequence[Link], run: Callable[..., Any]) -> None:
    PackedEngine.run = run  # type: ignore[method-assign]
    worker.main(control, links)


def _is_long(texts: PackedTexts) -> bool:
    """Whether a batch contains a long text of few distinct tokens, unlike those run at start."""
    longest = texts.ids[texts.bounds[-2] :]
    return len(longest) > 300 and len(np.unique(longest)) < 5


def dies_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """The process is killed while it computes a long text."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(self, texts)

    _serve(control, links, run)


def dies_on_long_texts_among_others(control: Link, links: Sequence[Link]) -> None:
    """The process is killed while it computes a batch of several texts with a long one."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts) and len(texts.lengths) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(self, texts)

    _serve(control, links, run)


def dies_on_two_long_texts(control: Link, links: Sequence[Link]) -> None:
    """The process is killed while it computes two long texts at the same time."""
    together = threading.Barrier(2)

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            together.wait(PATIENCE_S)
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(self, texts)

    _serve(control, links, run)


def stops_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """The process hangs while it computes a long text."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            os.kill(os.getpid(), signal.SIGSTOP)
        return _run(self, texts)

    _serve(control, links, run)


def logs_when_idle(control: Link, links: Sequence[Link]) -> None:
    """No fault: the worker's idle action logs a line."""

    def log() -> None:
        worker.log.warning("idle")

    memory.IdleAction = functools.partial(  # type: ignore[assignment,misc]
        memory.IdleAction, log, 0.01
    )
    worker.main(control, links)


def _never_answers(device: str) -> bool:
    return False


def loses_its_device_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """A long text fails, and the device computes nothing from then on."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            device.answers = _never_answers
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return _run(self, texts)

    _serve(control, links, run)


def has_room_for_three_texts(control: Link, links: Sequence[Link]) -> None:
    """Memory runs out on more than three short texts, and on any long text."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts) or (texts.lengths.max() < 10 and len(texts.lengths) > 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return _run(self, texts)

    _serve(control, links, run)


def meets_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """A long text is computed only at the same time as another one."""
    together = threading.Barrier(2)

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            together.wait(PATIENCE_S)
        return _run(self, texts)

    _serve(control, links, run)


def urgent_needs_a_paused_pass(control: Link, links: Sequence[Link]) -> None:
    """An urgent batch is computed once a yielding pass pauses for it, and fails if none does."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if threading.current_thread().name == "urgent" and not eventually(
            lambda: preemption.PREEMPTION.is_paused
        ):
            raise RuntimeError("no pass is paused")
        return _run(self, texts)

    _serve(control, links, run)


def fails_on_two_at_once(control: Link, links: Sequence[Link]) -> None:
    """A batch fails if another one is being computed."""
    busy = threading.Lock()
    moment = threading.Event()

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if not busy.acquire(blocking=False):
            raise RuntimeError("two at once")
        try:
            moment.wait(0.02)  # as long as an ordinary batch
            return _run(self, texts)
        finally:
            busy.release()

    _serve(control, links, run)


def computes_twice(control: Link, links: Sequence[Link]) -> None:
    """Every batch is computed twice, so the worker is half as fast."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        _run(self, texts)
        return _run(self, texts)

    _serve(control, links, run)


def breaks_its_lane_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """The worker fails to send the logits of a long text: an error outside the forward pass."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        logits = _run(self, texts)
        return logits.view(_Unsendable) if _is_long(texts) else logits

    _serve(control, links, run)


class _Unsendable(np.ndarray):
    """An array for whose bytes there is no memory."""

    def tobytes(self, order: Any = "C") -> bytes:
        """Fail as NumPy does when memory runs out."""
        raise MemoryError


def changeover_signal(compile_cache: str) -> Path:
    """The file for which `changes_over_on_signal` waits."""
    return Path(compile_cache).parent / "change-over"


def changes_over_on_signal(control: Link, links: Sequence[Link]) -> None:
    """The worker changes over to its compiled engine when a file appears."""
    compiled = changeover.compiled

    def wait(selection: Any, source: Any, config: ServerConfig) -> Any:
        assert eventually(changeover_signal(config.compile_cache).exists)
        return compiled(selection, source, config)

    changeover.compiled = wait
    worker.main(control, links)


def tells_when_settled(control: Link, links: Sequence[Link]) -> None:
    """No fault: the worker logs a line after it has told the server that it has read its files."""

    def tell(connection: Link, message: object) -> None:
        send(connection, message)
        if isinstance(message, Settled):  # on another thread, since this one holds the log's lock
            threading.Thread(target=worker.log.warning, args=("settled",)).start()

    worker.send = tell  # type: ignore[attr-defined]
    worker.main(control, links)


def computes_no_fingerprint(control: Link, links: Sequence[Link]) -> None:
    """The worker cannot compute a fingerprint."""

    def fingerprint(self: ReadCheckpoint) -> str:
        raise MemoryError

    ReadCheckpoint.fingerprint = fingerprint  # type: ignore[method-assign]
    worker.main(control, links)


def rejects_its_job(control: Link, links: Sequence[Link]) -> None:
    """The worker cannot serve its model."""
    receive(control)
    send(control, Refused(StartError("no memory for the weights")))


def hangs_at_once(control: Link, links: Sequence[Link]) -> None:
    """The worker never gets ready."""
    os.kill(os.getpid(), signal.SIGSTOP)


def dies_at_once(control: Link, links: Sequence[Link]) -> None:
    """The process is killed while it loads."""
    os.kill(os.getpid(), signal.SIGKILL)
