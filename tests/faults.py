"""Worker processes that something befalls."""

import functools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.compilation import changeover
from classwire_server.engine.forward import device, preemption
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker import memory
from classwire_server.engine.worker.protocol import Link, Refused, receive, send
from classwire_server.errors import StartError
from tests.contract.engines import PATIENCE_S, eventually
from tests.workers import ForkedWorker

_run = PackedEngine.run

Main = Callable[[Link, Sequence[Link]], None]


def spawn_with(main: Main) -> Callable[[Link, Sequence[Link]], ForkedWorker]:
    """Starts workers that have the fault."""
    return functools.partial(ForkedWorker, main=main)


class Succession:
    """Starts workers one after the other: each of the mains once, the last again and again.

    `workers` are those that were started. One is not started before `gate` is open.
    """

    def __init__(self, *mains: Main) -> None:
        self.workers: list[ForkedWorker] = []
        self.gate = threading.Event()
        self.gate.set()
        self._mains = mains

    def __call__(self, control: Link, links: Sequence[Link]) -> ForkedWorker:
        """Start the next."""
        assert self.gate.wait(PATIENCE_S)
        main = self._mains[min(len(self.workers), len(self._mains) - 1)]
        self.workers.append(ForkedWorker(control, links, main))
        return self.workers[-1]


def _serve(control: Link, links: Sequence[Link], run: Callable[..., Any]) -> None:
    PackedEngine.run = run  # type: ignore[method-assign]
    worker.main(control, links)


def _is_long(texts: PackedTexts) -> bool:
    """A long text of the same word, which a worker does not compute at start."""
    longest = texts.ids[texts.bounds[-2] :]
    return len(longest) > 300 and len(np.unique(longest)) < 5


def dies_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """Killed from outside while it computes a long text."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(self, texts)

    _serve(control, links, run)


def says_that_it_rests(control: Link, links: Sequence[Link]) -> None:
    """No fault: what a worker does at rest, it says."""

    def say() -> None:
        worker.log.warning("at rest")

    memory.Rest = functools.partial(memory.Rest, say, 0.01)  # type: ignore[assignment,misc]
    worker.main(control, links)


def _answers_no_more(device: str) -> bool:
    return False


def loses_its_device_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """A long text fails, and from then on the device computes nothing."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            device.answers = _answers_no_more
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return _run(self, texts)

    _serve(control, links, run)


def has_room_for_three_texts(control: Link, links: Sequence[Link]) -> None:
    """Runs out of memory on more than three short texts; no room for a long one at all."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts) or (texts.lengths.max() < 10 and len(texts.lengths) > 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return _run(self, texts)

    _serve(control, links, run)


def meets_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """A long text is computed only together with another one."""
    together = threading.Barrier(2)

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if _is_long(texts):
            together.wait(PATIENCE_S)
        return _run(self, texts)

    _serve(control, links, run)


def is_urgent_while_others_stand(control: Link, links: Sequence[Link]) -> None:
    """An urgent batch is computed once another stands still for it, and fails when none does."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if threading.current_thread().name == "urgent" and not eventually(
            lambda: preemption.PREEMPTION._still
        ):
            raise RuntimeError("nothing stands still")
        return _run(self, texts)

    _serve(control, links, run)


def refuses_company(control: Link, links: Sequence[Link]) -> None:
    """Fails when two batches are computed at the same time."""
    busy = threading.Lock()
    moment = threading.Event()

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if not busy.acquire(blocking=False):
            raise RuntimeError("two at once")
        try:
            moment.wait(0.02)  # as long as a batch of some size
            return _run(self, texts)
        finally:
            busy.release()

    _serve(control, links, run)


def computes_twice(control: Link, links: Sequence[Link]) -> None:
    """Half as fast: every batch is computed two times."""

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        _run(self, texts)
        return _run(self, texts)

    _serve(control, links, run)


def breaks_its_lane_on_long_texts(control: Link, links: Sequence[Link]) -> None:
    """Something fails that is no part of the forward pass."""
    compute = worker._Worker._compute

    def fail(self: worker._Worker, texts: PackedTexts) -> Any:
        if _is_long(texts):
            raise MemoryError
        return compute(self, texts)

    worker._Worker._compute = fail  # type: ignore[method-assign]
    worker.main(control, links)


def changeover_signal(compile_cache: str) -> Path:
    """The file that makes `changes_over_when_told` go on."""
    return Path(compile_cache).parent / "change-over"


def changes_over_when_told(control: Link, links: Sequence[Link]) -> None:
    """Takes its compiled engine when a file appears."""
    compiled = changeover.compiled

    def wait(selection: Any, source: Any, config: ServerConfig) -> Any:
        assert eventually(changeover_signal(config.compile_cache).exists)
        return compiled(selection, source, config)

    changeover.compiled = wait
    worker.main(control, links)


def refuses(control: Link, links: Sequence[Link]) -> None:
    """Cannot serve what it is asked to."""
    receive(control)
    send(control, Refused(StartError("no memory for the weights")))


def hangs_at_once(control: Link, links: Sequence[Link]) -> None:
    """Never gets ready."""
    os.kill(os.getpid(), signal.SIGSTOP)


def dies_at_once(control: Link, links: Sequence[Link]) -> None:
    """Killed while it loads."""
    os.kill(os.getpid(), signal.SIGKILL)
