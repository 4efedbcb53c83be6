"""One model on all its devices, and how it gets there."""

import threading
from collections.abc import Callable, Sequence

from ..config import ModelSource, ServerConfig
from ..errors import NoWorker, StartError
from ..tokenization import Encoding
from . import Deviation, EngineTraits, Launched, Logits
from .link import Job
from .packing import pack
from .process import Spawn, Subprocess, Worker


class WorkerEngine:
    """One model on one or several devices, each with a worker process of its own.

    Safe for use by any thread; see Engine for how many at once.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.lanes = sum(worker.lanes for worker in workers)
        self._workers = workers
        self._lock = threading.Lock()  # guards _in_flight
        self._in_flight = dict.fromkeys(workers, 0)

    @property
    def traits(self) -> EngineTraits:
        """What would run the next batch."""
        return self._workers[0].traits

    @property
    def deviation(self) -> Deviation:
        """How far scores are from plain float32 where they are farthest."""
        return max((w.deviation for w in self._workers), key=lambda d: d.max_score_difference)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    @property
    def is_up(self) -> bool:
        """Whether one of the workers is there."""
        return not all(worker.lost for worker in self._workers)

    @property
    def failure(self) -> str:
        """Why none of the workers is there."""
        return "" if self.is_up else "its process has ended"

    def infer(self, encodings: Sequence[Encoding], *, urgent: bool = False) -> Logits:
        """The logits of the texts, from the worker that has the least to do.

        Raises NoWorker and WorkerLost, and RuntimeError when the forward pass fails.
        """
        texts = pack(encodings)
        worker = self._take()
        try:
            computed = worker.compute(texts)
        finally:
            with self._lock:
                self._in_flight[worker] -= 1
        return Logits(texts.unsorted(computed.values), computed.traits, computed.inference_s)

    def close(self) -> None:
        """End the workers; what they compute at the moment is lost."""
        for worker in self._workers:
            worker.close()

    def _take(self) -> Worker:
        """The worker with the least to do of those that are there."""
        with self._lock:
            alive = [worker for worker in self._workers if not worker.lost]
            if not alive:
                raise NoWorker
            worker = min(alive, key=lambda worker: self._in_flight[worker] / worker.lanes)
            self._in_flight[worker] += 1
        return worker


def launch(
    source: ModelSource,
    config: ServerConfig,
    on_change: Callable[[], None],
    spawn: Spawn = Subprocess,
) -> Launched:
    """Start a worker for each device, and wait until all are ready.

    `on_change` is called, on any thread, whenever `is_up` of the engine may have changed.
    Raises StartError, with no process left, when one of them cannot serve the model.
    """
    workers: list[Worker] = []

    def lose(why: str) -> None:
        on_change()

    try:
        for device in config.devices:
            workers.append(Worker(Job(source, config, device), spawn, lose))
        ready = [worker.ready() for worker in workers]
    except BaseException as error:
        for worker in workers:
            worker.close()
        if isinstance(error, OSError):
            raise StartError(f"{source.location}: cannot start a worker: {error}") from error
        raise
    batch_tokens = min(worker.batch_tokens for worker in ready)
    return Launched(ready[0].checkpoint, WorkerEngine(workers), batch_tokens)
