"""One worker process of a model, seen from the server, from start to end."""

import logging
import math
import signal
import threading
import time
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from typing import Any

from classwire_server.checkpoint.contents import ReadContents
from classwire_server.engine import Terms
from classwire_server.engine.cores import divide, usable_cores
from classwire_server.engine.packing import PackedTexts
from classwire_server.errors import NoWorker, StartError, TooLate, WorkerLost, telling_line

from .lanes import Lanes
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
    hang_up,
    receive,
    send,
)
from .spawn import UNKNOWN_CODE, Spawn
from .wire import answer_of, work_bytes

log = logging.getLogger(__name__)

END_TIMEOUT_S = 5.0
"""How long a process may take to end after it closed its connection or was killed."""
SETTLED_S = 1.0
"""Uptime of a worker before it gets a `settled` batch."""


class Worker:
    """One worker process.

    The creating thread calls `ready`, `listen` and `close`, in this order. Any thread may call
    `kill`, and `compute` once the worker is ready. `has_ended` is true as soon as any thread
    notices the end. The constructor raises OSError when the process cannot be started.
    """

    def __init__(self, job: Job, spawn: Spawn) -> None:
        self._job = job
        self.has_ended = False
        self._ended = ""  # how the process ended
        self._changed = threading.Condition()  # guards all below, and the lanes
        self._killed = ""  # why the server killed it
        self._in_flight = 0
        self._held = 0  # batches in flight when a thread first noticed the end
        self._closed = False
        with ExitStack() as undo, ExitStack() as remote:
            pairs = []
            for _ in range(divide(usable_cores(), job.config.lanes, job.config.threads).lanes + 3):
                pairs.append(Pipe())
                undo.enter_context(pairs[-1][0])
                remote.enter_context(pairs[-1][1])  # so that the process's end ends all reads
            (self._control, control), *links = pairs
            self._links = [link for link, _ in links]
            self._process = spawn(control, [link for _, link in links])
            undo.pop_all()
        self.pid = self._process.pid
        with suppress(OSError):  # `ready` reports how it ended
            send(self._control, job)

    def ready(self, timeout_s: float = math.inf) -> Ready:
        """Wait until the worker accepts batches.

        Raises StartError when it rejects the job, ends, or takes longer than timeout_s.
        """
        try:
            message = self._next_message(time.monotonic() + timeout_s)
            if message is None:
                self.kill(f"was not ready after {timeout_s:g} s, and was killed")
                raise EOFError
        except (EOFError, OSError):
            raise StartError(f"{self._job.source.location}: its process {self.ending()}") from None
        except Exception as error:
            problem = f"its process could not be understood: {telling_line(error)}"
            raise StartError(f"{self._job.source.location}: {problem}") from error
        if isinstance(message, Refused):
            raise message.error
        ready: Ready = message
        self.traits, self.deviation = ready.traits, ready.deviation
        self.measurement = ready.measurement
        self.files: ReadContents | None = None
        urgent, *links = self._links
        self._urgent = Lanes([urgent], 1)
        self._lanes = Lanes(links[: ready.lanes + 1], ready.lanes)
        self._ready_s = time.monotonic()
        return ready

    def compute(self, texts: PackedTexts, terms: Terms) -> Computed:
        """Compute the logits of packed texts.

        `lanes + 1` threads with ordinary batches and one with an urgent batch may call at the same
        time; more wait. Raises NoWorker when the process ended before it began the batch, TooLate
        when it did not begin the batch in time, WorkerLost when it began it and ended before it
        answered, and RuntimeError when the forward pass failed.
        """
        lanes = self._urgent if terms.urgent else self._lanes
        with self._changed:
            if terms.settled:
                left_s = self._ready_s + SETTLED_S - time.monotonic()
                self._changed.wait_for(lambda: self.has_ended, left_s)
            self._changed.wait_for(lambda: lanes.free)
            if self.has_ended:
                raise NoWorker
            link = lanes.take(time.monotonic())
            self._in_flight += 1
        try:
            answer = self._answer(link, Work(texts, terms))
        finally:
            with self._changed:
                lanes.give(link, time.monotonic())
                self._in_flight -= 1
                self._changed.notify_all()
        if isinstance(answer, Late):
            raise TooLate
        if isinstance(answer, Failed):
            raise RuntimeError(f"the forward pass failed: {answer.problem}")
        return answer

    def ending(self) -> str:
        """Wait until the process has ended, and return how. For the creating thread."""
        if not self._ended:
            self.has_ended = True
            code = self._process.wait(END_TIMEOUT_S)
            if code is None:
                self.kill("hung up, and was killed")
                code = self._process.wait(END_TIMEOUT_S)
            if code is None:
                log.error("%s: process %d cannot be killed", self._job.source.name, self.pid)
            self._ended = self._killed or _describe(code)
        return self._ended

    def listen(self) -> None:
        """Handle the worker's messages until it ends; kill it when it hangs."""
        limit_s = self._job.config.worker_timeout_s
        try:
            while (oldest_s := self._oldest_s()) + limit_s > time.monotonic():
                # A batch sent from now on is not overdue before this wait ends.
                message = self._next_message(min(oldest_s, time.monotonic()) + limit_s)
                if isinstance(message, Changed):
                    self.traits, self.deviation = message.traits, message.deviation
                    self.measurement = message.measurement
                elif isinstance(message, Settled):
                    self.files = message.files
            self.kill(f"had no answer to a batch after {limit_s:g} s, and was killed")
        except (EOFError, OSError):
            self.has_ended = True
        except Exception as error:
            self.kill(f"was killed, since it could not be understood: {type(error).__name__}")

    def kill(self, why: str = "was killed") -> None:
        """End the process. Batches in flight are lost."""
        self.has_ended = True
        with self._changed:
            if self._closed:
                return
            self._killed = self._killed or why
            self._changed.notify_all()
            self._process.kill()
            for connection in (self._control, *self._links):
                hang_up(connection)  # a process blocked on a broken device may not end

    def close(self) -> None:
        """End the process, and close its connections once no thread uses them."""
        self.kill()
        self.ending()
        with self._changed:  # a descriptor closed while it is read might be reused by then
            self._changed.wait_for(lambda: not self._in_flight)
            self._closed = True
            for connection in (self._control, *self._links):
                connection.close()

    def _answer(self, link: Link, work: Work) -> Computed | Late | Failed:
        has_begun = False
        try:
            link.send_bytes(work_bytes(work))
            while isinstance(message := answer_of(link.recv_bytes()), Begun):
                has_begun = True
            return message
        except (EOFError, OSError):
            lost = self._lost()
            raise (lost if has_begun else NoWorker) from None
        except BaseException as error:  # the next caller must not get the rest of the answer
            self.kill(f"was killed, since its answer could not be read: {type(error).__name__}")
            if isinstance(error, Exception):
                raise self._lost() from error
            raise

    def _lost(self) -> WorkerLost:
        """Note that the process has ended; returns the error of a batch that it had begun."""
        with self._changed:
            self.has_ended = True
            self._held = self._held or self._in_flight
            return WorkerLost(is_alone=self._held == 1)

    def _oldest_s(self) -> float:
        with self._changed:
            return min(self._lanes.oldest_s, self._urgent.oldest_s)

    def _next_message(self, until_s: float) -> Any:
        """The next message other than a log record; None if there is none by until_s."""
        while (left_s := until_s - time.monotonic()) > 0:
            if self._control.poll(None if math.isinf(left_s) else left_s):
                message = receive(self._control)
                if not isinstance(message, logging.LogRecord):
                    return message
                logging.getLogger(message.name).handle(message)
        return None


def _describe(code: int | None) -> str:
    if code == UNKNOWN_CODE:
        return "ended after its fork server had, so its exit code is unknown"
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
