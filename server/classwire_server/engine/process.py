"""The worker process of a model, as the server sees it."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from typing import Any, Protocol

from ..errors import StartError, WorkerLost
from .cores import divide, usable_cores
from .link import Changed, Computed, Failed, Job, Link, Ready, Refused, receive, send
from .packing import PackedTexts

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


class Subprocess:
    """A fresh interpreter: it imports what a worker needs, and nothing of the server's."""

    def __init__(self, control: Link, lanes: Sequence[Link]) -> None:
        descriptors = [connection.fileno() for connection in (control, *lanes)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", str(__package__), *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=2,  # the server's own is for scripts, which wait for its lines
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

    `on_lost` is called, on a thread of its own, when the process ends without being asked to: from
    then on, and while it is being found out, `lost` is true. Raises OSError when it cannot be
    started.
    """

    def __init__(self, job: Job, spawn: Spawn, on_lost: Callable[[str], None]) -> None:
        self._job = job
        self._on_lost = on_lost
        self._closing = False
        self._changed = threading.Condition()  # guards _free
        self._free: list[Link] = []
        self._used = 0  # connections that batches may travel on
        self.lost = False
        config = job.config
        division = divide(usable_cores(), config.lanes, config.threads)
        with ExitStack() as undo, ExitStack() as theirs:
            pairs = []
            for _ in range(division.lanes + 2):
                pairs.append(Pipe())
                undo.enter_context(pairs[-1][0])
                theirs.enter_context(pairs[-1][1])  # so that the process's end ends all reads
            (self._control, control), *lanes = pairs
            self._lanes = [ours for ours, _ in lanes]
            self._process = spawn(control, [lane for _, lane in lanes])
            undo.pop_all()
        self.pid = self._process.pid
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
        self._free = self._lanes[: ready.lanes + 1]
        self._used = len(self._free)
        self._listener.start()
        return ready

    def compute(self, texts: PackedTexts) -> Computed:
        """The logits of packed texts; as many threads as there are lanes, and one more, wait for no
        other.

        Raises WorkerLost when the process ends before it answers, and RuntimeError when the
        forward pass fails.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            lane = self._free.pop()
        try:
            send(lane, texts)
            answer = receive(lane)
        except (EOFError, OSError):
            self.lost = True
            raise WorkerLost from None
        except BaseException:
            self.lost = True
            self._process.kill()  # what is left of the answer must not be another caller's
            raise
        finally:
            with self._changed:
                self._free.append(lane)
                self._changed.notify_all()
        if isinstance(answer, Failed):
            raise RuntimeError(f"the forward pass failed: {answer.problem}")
        computed: Computed = answer
        return computed

    def close(self) -> None:
        """End the process; what it computes at the moment is lost."""
        self._closing = True
        with suppress(OSError):
            send(self._control, None)
        if self._process.wait(END_TIMEOUT_S) is None:
            self._process.kill()
            self._process.wait(END_TIMEOUT_S)
        if self._listener.ident:
            self._listener.join()
        with self._changed:  # a connection closed while it is read might be another's by then
            self._changed.wait_for(lambda: len(self._free) == self._used, END_TIMEOUT_S)
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
        self.lost = True
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
