"""One model on all its devices, and how its workers are started."""

import threading
from collections.abc import Callable, Sequence

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
from classwire_server.engine.packing import pack
from classwire_server.errors import NoWorker
from classwire_server.tokenization import Encoding

from .forking import spawn_on
from .protocol import Job
from .spawn import Spawn
from .supervisor import Supervisor


class WorkerPool:
    """One model on one or several devices, each with its own supervised worker process.

    Thread-safe; Engine says how many threads may call `infer` at once.
    """

    def __init__(self, workers: Sequence[Supervisor], lanes: Sequence[int]) -> None:
        self.lanes = sum(lanes)
        self._workers = workers
        self._lanes = dict(zip(workers, lanes, strict=True))
        self._lock = threading.Lock()  # guards _in_flight and _urgent
        self._in_flight = dict.fromkeys(workers, 0)
        self._urgent = dict.fromkeys(workers, 0)

    @property
    def traits(self) -> EngineTraits:
        """What would run the next batch."""
        return next((w for w in self._workers if w.is_up), self._workers[0]).traits

    @property
    def deviation(self) -> Deviation:
        """The largest deviation of any worker."""
        return max((w.deviation for w in self._workers), key=lambda d: d.max_score_difference)

    @property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers of all devices."""
        return tuple(
            WorkerState(worker.traits.device, worker.pid, worker.is_up, worker.restarts)
            for worker in self._workers
        )

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are up."""
        return tuple(worker.pid for worker in self._workers if worker.is_up)

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The number of batches in flight on each worker."""
        with self._lock:
            return tuple(self._in_flight.values())

    @property
    def is_up(self) -> bool:
        """Whether any worker is up."""
        return any(worker.is_up for worker in self._workers)

    @property
    def failure(self) -> str:
        """Why no worker is up; empty while one is."""
        return "" if self.is_up else self._workers[0].failure

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """Compute the logits of the texts on the worker with the least load.

        Raises NoWorker, TooLate and WorkerLost as Engine says, and RuntimeError when the forward
        pass failed.
        """
        texts = pack(encodings)
        while True:
            worker = self._take(terms.urgent)
            try:
                computed = worker.compute(texts, terms)
            except NoWorker:  # it ended in between; another may be up
                continue
            finally:
                with self._lock:
                    self._in_flight[worker] -= 1
                    self._urgent[worker] -= terms.urgent
            return Logits(
                texts.unsorted(computed.values),
                computed.traits,
                computed.inference_s,
                computed.began_s,
            )

    def close(self) -> None:
        """End the workers. Batches in flight are lost."""
        for worker in self._workers:
            worker.close()

    def _take(self, urgent: bool) -> Supervisor:
        """Take the worker with the least load of those that are up. Raises NoWorker."""
        with self._lock:
            up = [worker for worker in self._workers if worker.is_up]
            if not up:
                raise NoWorker
            worker = min(up, key=lambda w: (urgent and self._urgent[w], self._load(w)))
            self._in_flight[worker] += 1
            self._urgent[worker] += urgent
        return worker

    def _load(self, worker: Supervisor) -> float:
        return self._in_flight[worker] / self._lanes[worker]


def launch(
    source: ModelSource,
    config: ServerConfig,
    on_change: Callable[[], None],
    spawn: Spawn | None = None,
    *,
    anew: bool = False,
) -> Launched:
    """Start a worker for each device, and wait until all are ready.

    From then on the pool replaces workers that end. It calls `on_change`, on any thread, whenever
    the engine's `is_up` may have changed. Raises StartError, and leaves no process behind, when a
    worker cannot serve the model. `spawn` starts the processes; the default forks where it can.
    With `anew` the workers measure their engines, whatever earlier starts have measured.
    """
    workers: list[Supervisor] = []
    try:
        for device in config.devices:
            job = Job(source, config, device, anew=anew)
            workers.append(Supervisor(job, spawn or spawn_on(device), on_change))
        ready = [worker.ready() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    engine = WorkerPool(workers, [worker.lanes for worker in ready])
    smallest = min(ready, key=lambda worker: worker.batch_tokens)
    choices = tuple(choice for worker in ready for choice in worker.choices)
    return Launched(
        ready[0].checkpoint,
        engine,
        smallest.batch_tokens,
        smallest.profile,
        choices,
        sum(worker.peak_memory_bytes for worker in ready),
    )
