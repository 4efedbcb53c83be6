"""Keeps the worker of one device running: starts it, watches it, and replaces it when it ends."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from classwire_server.engine import Deviation, EngineTraits, Terms
from classwire_server.engine.packing import PackedTexts
from classwire_server.errors import StartError

from .forking import ForkServerLost
from .process import Worker
from .protocol import Computed, Job, Ready
from .spawn import Spawn, Subprocess

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 30.0
STEADY_S = 60.0
"""Uptime of a worker after which the restart backoff resets."""
START_TIMEOUT_S = 600.0
"""How long a replacement may take until it is ready. The first worker may take any time, since the
caller of `launch` waits for it.
"""


class Backoff:
    """Exponential backoff between two starts of a worker."""

    def __init__(self) -> None:
        self._next_s = FIRST_WAIT_S

    def wait_s(self, served_s: float) -> float:
        """The next wait, in seconds, after a worker that was up for served_s."""
        wait_s = FIRST_WAIT_S if served_s >= STEADY_S else self._next_s
        self._next_s = min(2 * wait_s, LONGEST_WAIT_S)
        return wait_s


class Supervisor:
    """Keeps a worker running until `close`, on a thread of its own.

    It calls `on_change` on that thread whenever `is_up` may have changed. Any thread may call
    `close` at any time, and the other members once `ready` has returned. `restarts` counts the
    workers that replaced another.
    """

    def __init__(self, job: Job, spawn: Spawn, on_change: Callable[[], None]) -> None:
        self._job = job
        self._spawn = spawn
        self._on_change = on_change
        several = len(job.config.devices) > 1
        self._name = f"{job.source.name} on {job.device}" if several else job.source.name
        self.restarts = 0  # written by the thread alone
        self._backoff = Backoff()
        self._first: Future[Ready] = Future()
        self._ending = ""  # how the last worker ended
        self._ended_s = 0.0
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards _started; `close` sets _closing under it
        self._started: Worker | None = None
        self._thread = threading.Thread(target=self._run, name=f"worker-{self._name}", daemon=True)
        self._thread.start()

    def ready(self) -> Ready:
        """Wait until the first worker accepts batches.

        Raises StartError when it rejects the job or ends. No other is started then.
        """
        return self._first.result()

    @property
    def is_up(self) -> bool:
        """Whether there is a worker that accepts batches."""
        return not self._worker.has_ended

    @property
    def failure(self) -> str:
        """How the worker ended, while there is no replacement; else empty."""
        if self.is_up:
            return ""
        return f"its process {self._ending or 'has ended'}; another is being started"

    @property
    def pid(self) -> int:
        """The process id of the current worker, or of the last one."""
        return self._worker.pid

    @property
    def traits(self) -> EngineTraits:
        """What runs the batches of the current worker, or ran those of the last one."""
        return self._worker.traits

    @property
    def deviation(self) -> Deviation:
        """The measured difference of its scores."""
        return self._worker.deviation

    def compute(self, texts: PackedTexts, terms: Terms) -> Computed:
        """See Worker.compute."""
        return self._worker.compute(texts, terms)

    def close(self) -> None:
        """End the worker, even while it computes, and start no other."""
        with self._lock:
            self._closing.set()
            if self._started is not None:
                self._started.kill()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                worker, ready = self._start()
            except StartError as error:
                if not self._first.done():
                    self._first.set_exception(error)
                    return
                served_s, problem = 0.0, f"no new process: {error}"
            else:
                served_s = self._serve(worker, ready)
                problem = f"its process {self._ending}"
            if self._closing.is_set():
                return
            wait_s = self._backoff.wait_s(served_s)
            log.error("%s: %s; starting another in %.1f s", self._name, problem, wait_s)
            if self._closing.wait(wait_s):
                return

    def _start(self) -> tuple[Worker, Ready]:
        """Start a worker and wait until it is ready. Raises StartError."""
        try:
            worker = self._spawned()
        except Exception as error:  # any error must reach the caller of `ready`
            problem = f"{self._job.source.location}: cannot start a worker: {error}"
            raise StartError(problem) from error
        with self._lock:
            self._started = worker
            if self._closing.is_set():
                worker.kill()
        try:
            if not self._first.done():
                ready = worker.ready()
                self._job = replacement_job(self._job, ready)
                return worker, ready
            ready = worker.ready(START_TIMEOUT_S)
            if ready.checkpoint.fingerprint != self._first.result().checkpoint.fingerprint:
                raise StartError(f"{self._job.source.location}: is not what it was at start")
        except BaseException:
            worker.close()
            raise
        return worker, ready

    def _spawned(self) -> Worker:
        """Start a worker. If the fork server is lost, a fresh interpreter gets new connections: an
        unknown fork may hold the first ones.
        """
        try:
            return Worker(self._job, self._spawn)
        except ForkServerLost as error:
            log.warning("%s: %s; starting a fresh interpreter", self._name, error)
            return Worker(self._job, Subprocess)

    def _serve(self, worker: Worker, ready: Ready) -> float:
        """Let a worker compute until it ends, and return its uptime in seconds."""
        began_s = time.monotonic()
        self._worker = worker
        if not self._first.done():
            self._first.set_result(ready)
        else:
            self.restarts += 1
            down_s = began_s - self._ended_s
            log.info("%s: back, %.1f s after its last process ended", self._name, down_s)
            self._notify()
        worker.listen()
        self._job = replace(self._job, measurement=worker.measurement, files=worker.files)
        self._ended_s = time.monotonic()
        self._ending = worker.ending()
        self._notify()
        worker.close()
        return self._ended_s - began_s

    def _notify(self) -> None:
        if self._closing.is_set():
            return
        try:
            self._on_change()
        except Exception:  # the supervisor must go on in any case
            log.exception("%s: the change of its state could not be reported", self._name)


def replacement_job(job: Job, ready: Ready) -> Job:
    """The job of the workers that replace one: the same files, precision and batch size.

    A replacement repeats no choice or measurement and downloads nothing, so it starts sooner.
    """
    return replace(
        job,
        source=replace(job.source, revision=ready.checkpoint.revision),
        config=replace(
            job.config,
            offline=True,
            precision=ready.traits.precision.value,
            batch_tokens=ready.batch_tokens,
        ),
        device=ready.traits.device,
        measurement=ready.measurement,
        anew=False,
    )
