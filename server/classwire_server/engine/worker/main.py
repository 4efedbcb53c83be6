"""The worker process: it holds one model on one device and computes the server's batches.

In a process of its own, the forward pass and the server's threads do not compete for one GIL:
docs/concepts/decisions/0006. The worker ends when its server ends, for any reason.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from classwire_server.checkpoint.hub import ask_hub
from classwire_server.engine import Execution
from classwire_server.engine.cores import lower_priority
from classwire_server.engine.forward.preemption import MAX_PAUSE_S, PREEMPTION
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.stages import stage
from classwire_server.errors import StartError, telling_line

from .protocol import (
    Begun,
    Changed,
    Computed,
    Failed,
    Job,
    Late,
    Link,
    Ready,
    Refused,
    Settled,
    Work,
    name_process,
    receive,
    send,
)
from .wire import answer_bytes, work_of

if TYPE_CHECKING:
    import numpy as np

    from classwire_server.engine.forward.runner import Runner
    from classwire_server.engine.selection.choice import Selection

log = logging.getLogger(__name__)

Turn = Callable[[Work], AbstractContextManager[None]]
"""The context in which a batch is computed: entering it waits for the batch's turn."""

NAME = "classwire-model"
NICENESS = 5
"""Added to the server's nice value. On a core that both share, the server can then reject calls
while the worker computes, and the worker still gets a quarter of the core.
"""
FAILED_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: the device no longer answers, or a lane has failed."""


def main(control: Link, links: Sequence[Link]) -> None:
    """Receive a job from the server and compute its batches until the server ends.

    `links` are the connections for batches. The first carries urgent batches; of the others, the
    worker uses one for each lane and one more.
    """
    name_process(NAME)
    os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server handles them, and ends this process
    try:
        job: Job = receive(control)
    except (EOFError, OSError):
        return  # the server wants no worker any more
    threading.Thread(target=_end_with_server, args=(control,), daemon=True).start()
    send_lock = threading.Lock()  # guards sending on control
    _forward_logs(control, send_lock, job.config.log_level)
    try:
        worker = _Worker(job, control, send_lock)
    except StartError as error:
        send(control, Refused(error))
        return
    except Exception as error:
        log.exception("%s: the engine could not start", job.source.name)
        problem = f"{job.source.location}: the engine could not start: {telling_line(error)}"
        send(control, Refused(StartError(problem)))
        return
    worker.work(links)


class _Worker:
    """The engine of one job, and the threads that run batches on it."""

    def __init__(self, job: Job, control: Link, send_lock: threading.Lock) -> None:
        with stage(job.source.name, f"asking the hub for {job.source.location}"):
            ask_hub(job.source, job.config)
        with stage(job.source.name, "importing torch"):
            from classwire_server.engine.forward.device import release
            from classwire_server.engine.selection.engine_start import EngineStart

            from .memory import IdleAction, release_memory

        self._control = control
        self._send_lock = send_lock
        self._job = job
        self._start = EngineStart(
            job.source, job.config, job.device, job.measurement, job.files, anew=job.anew
        )
        self._selection: Selection = self._start.selection
        self._runner: Runner = self._selection.finished(self._selection.engine)
        release_memory()
        release(self._runner.traits.device)
        self._idle = IdleAction()
        # Well below the timeout, so that the server does not take a paused pass for a hung one.
        PREEMPTION.max_pause_s = min(MAX_PAUSE_S, job.config.worker_timeout_s / 4)
        self._free_lanes = threading.Semaphore(self._selection.division.lanes)

    def work(self, links: Sequence[Link]) -> None:
        """Report the engine as ready, and compute batches until the server ends."""
        selection = self._selection
        if self._job.anew:
            self._start.settle()  # a check ends this process as soon as it is ready
        urgent, *lanes = links
        threads = [
            threading.Thread(target=self._serve, args=(lane, self._on_lane), name=f"lane-{n}")
            for n, lane in enumerate(lanes[: selection.division.lanes + 1])
        ]
        threads.append(
            threading.Thread(target=self._serve, args=(urgent, self._urgently), name="urgent")
        )
        for thread in threads:
            thread.start()
        self._send(
            Ready(
                selection.checkpoint,
                self._runner.traits,
                selection.deviation,
                selection.division.lanes,
                selection.batch_tokens,
                selection.profile,
                selection.choices,
                self._start.measurement,
                self._start.peak_memory_bytes,
            )
        )
        if self._job.config.compile and self._runner.traits.execution is Execution.PLAIN:
            self._change_over()
        if not self._job.anew:
            threading.Thread(target=self._settle, name="settle", daemon=True).start()
        for thread in threads:
            thread.join()

    def _change_over(self) -> None:
        from classwire_server.engine.selection.changeover import compiled

        found = compiled(self._selection, self._job.source, self._job.config)
        if found is not None:
            self._runner, deviation = found  # each batch reads _runner once
            measurement = self._start.serves(self._runner, deviation)
            self._send(Changed(self._runner.traits, deviation, measurement))

    def _settle(self) -> None:
        lower_priority()
        if not self._start.settle():
            log.critical("%s: ending its process", self._job.source.name)
            os._exit(FAILED_EXIT_CODE)
        if self._start.files is not None:
            self._send(Settled(self._start.files))

    @contextmanager
    def _on_lane(self, work: Work) -> Iterator[None]:
        with self._free_lanes, PREEMPTION.yielding() if work.terms.yields else nullcontext():
            yield

    def _urgently(self, _: Work) -> AbstractContextManager[None]:
        return PREEMPTION.urgent()

    def _serve(self, link: Link, turn: Turn) -> None:
        try:
            while True:
                work = work_of(link.recv_bytes())
                with turn(work):
                    answer: Late | Computed | Failed = Late()
                    if time.monotonic() < work.terms.begin_by_s:
                        link.send_bytes(answer_bytes(Begun()))
                        answer = self._compute(work.texts)
                link.send_bytes(answer_bytes(answer))
                self._idle.worked()
        except (EOFError, OSError):
            pass  # the server has ended
        except BaseException as error:  # a thread that ends alone would leave its caller waiting
            log.critical("a lane failed: %s; ending its process", type(error).__name__)
            os._exit(FAILED_EXIT_CODE)

    def _compute(self, texts: PackedTexts) -> Computed | Failed:
        runner = self._runner
        began_s, started_s = time.monotonic(), time.perf_counter()
        try:
            values = run_within_memory(runner, texts)
        except Exception as error:  # any error fails this batch alone
            self._end_if_device_is_lost(runner.traits.device)
            log.warning("a batch of %d texts failed: %s", len(texts.lengths), type(error).__name__)
            return Failed(type(error).__name__)
        return Computed(values, runner.traits, time.perf_counter() - started_s, began_s)

    def _end_if_device_is_lost(self, device: str) -> None:
        from classwire_server.engine.forward.device import answers

        if not answers(device):
            log.critical("the device %s is lost; ending its process", device)
            os._exit(FAILED_EXIT_CODE)

    def _send(self, message: object) -> None:
        with self._send_lock, suppress(OSError):
            send(self._control, message)


def run_within_memory(runner: "Runner", texts: PackedTexts) -> "np.ndarray":
    """Logits of the texts in packed order. Halves the batch when memory runs out."""
    import numpy as np

    from classwire_server.engine.forward.device import is_out_of_memory

    try:
        return runner.run(texts)
    except Exception as error:
        why = "out of memory" if is_out_of_memory(error) else "compiled code failed"
        # Compiled code does not report why it failed, so memory is a possible reason.
        may_fit = is_out_of_memory(error) or runner.traits.execution is Execution.COMPILED
        if not may_fit or len(texts.lengths) == 1:
            raise
    log.warning("%s on %d texts; halving the batch", why, len(texts.lengths))
    return np.concatenate([run_within_memory(runner, half) for half in texts.halves()])


def _end_with_server(control: Link) -> None:
    """End this process when the server closes the connection: it sends nothing after the job."""
    with suppress(EOFError, OSError):
        receive(control)
    os._exit(0)


class _ForwardingHandler(logging.Handler):
    """Sends log records to the server, which formats and writes all lines."""

    def __init__(self, control: Link, send_lock: threading.Lock) -> None:
        super().__init__()
        self._control = control
        self._send_lock = send_lock

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record with its message formatted: pickle may not support its arguments."""
        line = logging.makeLogRecord(
            {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        )
        line.msg = record.getMessage()
        if record.exc_info:
            line.exc_text = logging.Formatter().formatException(record.exc_info)
        with self._send_lock, suppress(OSError):
            send(self._control, line)


def _forward_logs(control: Link, send_lock: threading.Lock, level: str) -> None:
    logger = logging.getLogger("classwire_server")
    logger.handlers = [_ForwardingHandler(control, send_lock)]
    logger.propagate = False
    logger.setLevel(level.upper())
