"""The process that holds one model on one device, and computes what its server sends.

It is a process of its own so that the forward pass and the server's Python threads never wait for
each other's lock: docs/concepts/decisions/0006. It ends when its server does, however that ends.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from classwire_server.engine import Execution
from classwire_server.engine.forward.preemption import MAX_STILL_S, PREEMPTION
from classwire_server.engine.packing import PackedTexts
from classwire_server.errors import StartError

from .protocol import (
    Changed,
    Computed,
    Failed,
    Job,
    Late,
    Link,
    Ready,
    Refused,
    Work,
    receive,
    send,
)

if TYPE_CHECKING:
    import numpy as np

    from classwire_server.engine.forward.runner import Runner
    from classwire_server.engine.selection.choice import Selection

log = logging.getLogger(__name__)

Turn = Callable[[Work], AbstractContextManager[None]]
"""When a batch is computed, and what holds for as long as it is."""

NICENESS = 5
"""How much more a worker leaves to others than its server does. On a core that both share, the
server refuses calls while batches are computed, and still leaves a quarter of it to them.
"""
FAILED_EXIT_CODE = 70
"""Of sysexits.h, EX_SOFTWARE: the device no longer answers, or a lane has failed."""


def main(control: Link, links: Sequence[Link]) -> None:
    """Take a job from the server and work on it until the server has gone.

    `links` are the connections for batches: the first for urgent ones, and of the others as many
    are used as there are lanes, and one more.
    """
    os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the server, which then ends this
    job: Job = receive(control)
    threading.Thread(target=_end_with_server, args=(control,), daemon=True).start()
    speaking = threading.Lock()  # guards sending on control
    _forward_logs(control, speaking, job.config.log_level)
    try:
        worker = _Worker(job, control, speaking)
    except StartError as error:
        send(control, Refused(error))
        return
    except Exception as error:
        log.exception("%s: the engine could not start", job.source.name)
        problem = f"{job.source.location}: the engine could not start ({type(error).__name__})"
        send(control, Refused(StartError(problem)))
        return
    worker.work(links)


class _Worker:
    """The engine of one job, and the lanes that use it."""

    def __init__(self, job: Job, control: Link, speaking: threading.Lock) -> None:
        from classwire_server.engine.selection.choice import select

        from .memory import Rest, give_back

        self._control = control
        self._speaking = speaking
        self._job = job
        self._selection: Selection = select(job.source, job.config, job.device, job.profile)
        self._runner: Runner = self._selection.finished(self._selection.engine)
        give_back()
        self._rest = Rest()
        # So that a pass that stands still is not taken for one that hangs.
        PREEMPTION.max_still_s = min(MAX_STILL_S, job.config.worker_timeout_s / 4)
        self._free_lanes = threading.Semaphore(self._selection.division.lanes)

    def work(self, links: Sequence[Link]) -> None:
        """Say that the engine is ready, and compute batches until the server has gone."""
        selection = self._selection
        urgent, *lanes = links
        threads = [
            threading.Thread(target=self._serve, args=(lane, self._on_a_lane), name=f"lane-{n}")
            for n, lane in enumerate(lanes[: selection.division.lanes + 1])
        ]
        threads.append(
            threading.Thread(
                target=self._serve, args=(urgent, self._beside_the_lanes), name="urgent"
            )
        )
        for thread in threads:
            thread.start()
        self._say(
            Ready(
                selection.checkpoint,
                self._runner.traits,
                selection.deviation,
                selection.division.lanes,
                selection.batch_tokens,
                selection.profile,
                selection.choices,
            )
        )
        if self._job.config.compile:
            self._change_over()
        for thread in threads:
            thread.join()

    def _change_over(self) -> None:
        from classwire_server.engine.compilation.changeover import compiled

        found = compiled(self._selection, self._job.source, self._job.config)
        if found is not None:
            self._runner, deviation = found  # between two batches: each reads it once
            self._say(Changed(self._runner.traits, deviation))

    @contextmanager
    def _on_a_lane(self, work: Work) -> Iterator[None]:
        with self._free_lanes, PREEMPTION.bulk() if work.terms.bulk else nullcontext():
            yield

    def _beside_the_lanes(self, _: Work) -> AbstractContextManager[None]:
        return PREEMPTION.urgent()

    def _serve(self, link: Link, turn: Turn) -> None:
        try:
            while True:
                work: Work = receive(link)
                with turn(work):
                    is_late = time.monotonic() >= work.terms.begin_by_s
                    answer = Late() if is_late else self._compute(work.texts)
                send(link, answer)
                self._rest.worked()
        except (EOFError, OSError):
            pass  # the server has gone
        except BaseException as error:  # a lane that dies alone would leave its caller waiting
            log.critical("a lane failed: %s; ending its process", type(error).__name__)
            os._exit(FAILED_EXIT_CODE)

    def _compute(self, texts: PackedTexts) -> Computed | Failed:
        runner = self._runner
        began_s, started_s = time.monotonic(), time.perf_counter()
        try:
            values = run_within_memory(runner, texts)
        except Exception as error:  # whatever it is, it is the batch's, and others go on
            self._end_if_device_is_lost(runner.traits.device)
            log.warning("a batch of %d texts failed: %s", len(texts.lengths), type(error).__name__)
            return Failed(type(error).__name__)
        return Computed(values, runner.traits, time.perf_counter() - started_s, began_s)

    def _end_if_device_is_lost(self, device: str) -> None:
        from classwire_server.engine.forward.device import answers

        if not answers(device):
            log.critical("the device %s is lost; ending its process", device)
            os._exit(FAILED_EXIT_CODE)

    def _say(self, message: object) -> None:
        with self._speaking, suppress(OSError):
            send(self._control, message)


def run_within_memory(runner: "Runner", texts: PackedTexts) -> "np.ndarray":
    """Logits of the texts; a batch for which there is no memory is halved until there is."""
    import numpy as np

    from classwire_server.engine.forward.device import is_out_of_memory

    try:
        return runner.run(texts)
    except Exception as error:
        why = "out of memory" if is_out_of_memory(error) else "compiled code failed"
        # Compiled code does not say of what, so that it may be memory too.
        may_fit = is_out_of_memory(error) or runner.traits.execution is Execution.COMPILED
        if not may_fit or len(texts.lengths) == 1:
            raise
    log.warning("%s on %d texts; halving the batch", why, len(texts.lengths))
    return np.concatenate([run_within_memory(runner, half) for half in texts.halves()])


def _end_with_server(control: Link) -> None:
    """The server's next word is goodbye; when it has no time for one, the connection ends."""
    with suppress(EOFError, OSError):
        receive(control)
    os._exit(0)


class _Forwarding(logging.Handler):
    """Hands log lines to the server, where all lines have one form and one place."""

    def __init__(self, control: Link, speaking: threading.Lock) -> None:
        super().__init__()
        self._control = control
        self._speaking = speaking

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line, formatted: its arguments may be nothing that can be sent."""
        line = logging.makeLogRecord(
            {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        )
        line.msg = record.getMessage()
        if record.exc_info:
            line.exc_text = logging.Formatter().formatException(record.exc_info)
        with self._speaking, suppress(OSError):
            send(self._control, line)


def _forward_logs(control: Link, speaking: threading.Lock, level: str) -> None:
    logger = logging.getLogger("classwire_server")
    logger.handlers = [_Forwarding(control, speaking)]
    logger.propagate = False
    logger.setLevel(level.upper())
