"""The worker processes of a model, as the server sees them."""

import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Any, Protocol

from classwire._reasons import Reason

from ..checkpoint import Checkpoint
from ..config import ModelSource, ServerConfig
from ..errors import RequestError, StartError
from ..tokenization import Encoding
from . import Deviation, EngineTraits, Logits
from .cores import divide, usable_cores
from .link import Changed, Computed, Failed, Job, Link, Ready, Refused, receive, send
from .packing import PackedTexts, pack

log = logging.getLogger(__name__)

END_TIMEOUT_S = 5.0
"""How long a worker may take to end once its server has hung up, before it is killed."""


class WorkerProcess(Protocol):
    """A running process."""

    pid: int

    def kill(self) -> None:
        """End it at once; does nothing when it has ended."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, once it has ended; None when that takes longer."""
        ...


Spawn = Callable[[Link, Sequence[Link]], WorkerProcess]
"""Starts a process that runs `worker.main` on these connections."""


class _Subprocess:
    """A fresh interpreter: it imports what a worker needs, and nothing of the server's."""

    def __init__(self, control: Link, lanes: Sequence[Link]) -> None:
        descriptors = [connection.fileno() for connection in (control, *lanes)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.worker", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def kill(self) -> None:
        """See WorkerProcess."""
        self._process.kill()

    def wait(self, timeout_s: float) -> int | None:
        """See WorkerProcess."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None


class Worker:
    """One worker process. Safe for use by any thread once `ready` has returned.

    `on_lost` is called, on a thread of its own, when the process ends without being asked to.
    """

    def __init__(self, job: Job, spawn: Spawn, on_lost: Callable[[str], None]) -> None:
        self._job = job
        self._on_lost = on_lost
        self._closing = False
        self._control, control = Pipe()
        config = job.config
        division = divide(usable_cores(), config.lanes, config.threads)
        pairs = [Pipe() for _ in range(division.lanes + 1)]
        self._lanes = [ours for ours, _ in pairs]
        theirs = [control, *(theirs for _, theirs in pairs)]
        try:
            self._process = spawn(theirs[0], theirs[1:])
        finally:
            for connection in theirs:
                connection.close()  # so that the end of the process ends what is said to it
        self.pid = self._process.pid
        self.in_flight = 0
        self._listener = threading.Thread(
            target=self._listen, name=f"worker-{self.pid}", daemon=True
        )
        with suppress(OSError):  # `ready` says how it ended
            send(self._control, job)

    def ready(self) -> Ready:
        """Wait until the worker answers batches.

        Raises StartError when it refuses, or ends. May be called once, by one thread.
        """
        try:
            message = self._next_message()
        except (EOFError, OSError):
            why = self._ending()
            raise StartError(f"{self._job.source.location}: its process {why}") from None
        if isinstance(message, Refused):
            self.close()
            raise message.error
        ready: Ready = message
        self.traits, self.deviation, self.lanes = ready.traits, ready.deviation, ready.lanes
        self._free: queue.SimpleQueue[Link] = queue.SimpleQueue()
        for lane in self._lanes[: ready.lanes + 1]:
            self._free.put(lane)
        self._listener.start()
        return ready

    def compute(self, texts: PackedTexts) -> Computed:
        """The logits of packed texts.

        Raises RequestError WORKER_LOST when the process ends before it answers, and RuntimeError
        when the forward pass fails.
        """
        lane = self._free.get()
        try:
            send(lane, texts)
            answer = receive(lane)
        except (EOFError, OSError):
            raise RequestError(
                Reason.WORKER_LOST, "the model's process ended before it answered"
            ) from None
        finally:
            self._free.put(lane)
        if isinstance(answer, Failed):
            raise RuntimeError(f"the forward pass failed: {answer.problem}")
        computed: Computed = answer
        return computed

    def close(self) -> None:
        """End the process; no thread may be inside `compute` any more."""
        self._closing = True
        with suppress(OSError):
            send(self._control, None)
        if self._process.wait(END_TIMEOUT_S) is None:
            self._process.kill()
            self._process.wait(END_TIMEOUT_S)
        if self._listener.ident:
            self._listener.join()
        for connection in (self._control, *self._lanes):
            connection.close()

    def _listen(self) -> None:
        """Hear what the worker says of itself, until it ends."""
        try:
            while True:
                message = self._next_message()
                if isinstance(message, Changed):
                    self.traits, self.deviation = message.traits, message.deviation
        except (EOFError, OSError):
            pass
        if not self._closing:
            why = self._ending()
            log.error("%s: its process %s", self._job.source.name, why)
            self._on_lost(why)

    def _next_message(self) -> Any:
        """The next message that is no line of the log."""
        while True:
            message = receive(self._control)
            if not isinstance(message, logging.LogRecord):
                return message
            logging.getLogger(message.name).handle(message)

    def _ending(self) -> str:
        code = self._process.wait(END_TIMEOUT_S)
        return "hung up" if code is None else f"ended with exit code {code}"


class WorkerEngine:
    """One model on one or several devices, each with a worker process of its own.

    Safe for use by any thread; see Engine for how many at once.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.lanes = sum(worker.lanes for worker in workers)
        self._workers = workers
        self._changed = threading.Lock()  # guards in_flight of the workers

    @property
    def traits(self) -> EngineTraits:
        """What would run the next batch."""
        return self._workers[0].traits

    @property
    def deviation(self) -> Deviation:
        """How far that engine's scores are from plain float32."""
        return self._workers[0].deviation

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def infer(self, encodings: Sequence[Encoding]) -> Logits:
        """The logits of the texts, from the worker that has the least to do.

        Raises RequestError WORKER_LOST, or RuntimeError when the forward pass fails.
        """
        texts = pack(encodings)
        with self._changed:
            worker = min(self._workers, key=lambda worker: worker.in_flight / worker.lanes)
            worker.in_flight += 1
        try:
            computed = worker.compute(texts)
        finally:
            with self._changed:
                worker.in_flight -= 1
        return Logits(texts.unsorted(computed.values), computed.traits, computed.inference_s)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()


@dataclass(frozen=True, eq=False)
class Launched:
    """A model that is ready to compute; `batch_tokens` is the size of batch it does best."""

    checkpoint: Checkpoint
    engine: WorkerEngine
    batch_tokens: int


def launch(
    source: ModelSource,
    config: ServerConfig,
    on_lost: Callable[[str], None],
    spawn: Spawn = _Subprocess,
) -> Launched:
    """Start a worker for each device, and wait until all are ready.

    Raises StartError, with no process left, when one of them cannot serve the model.
    """
    workers = [Worker(Job(source, config, device), spawn, on_lost) for device in config.devices]
    try:
        ready = [worker.ready() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    return Launched(ready[0].checkpoint, WorkerEngine(workers), ready[0].batch_tokens)
