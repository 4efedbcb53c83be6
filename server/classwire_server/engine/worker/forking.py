"""Workers that the fork server forks, seen from the server."""

import atexit
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any

from classwire_server.engine.stages import stage

from . import fork_server
from .fork_protocol import CannotFork, Fork, Forked, Reap, receive_descriptors, send_descriptors
from .main import main as worker_main
from .protocol import Link, hang_up, receive, send
from .spawn import UNKNOWN_CODE, Spawn, Subprocess, can_fork, environment

IMPORT_TIMEOUT_S = 600.0
"""How long the fork server may take to import torch."""
ANSWER_TIMEOUT_S = 5.0
"""How long it may take to answer from then on."""


class ForkServerLost(OSError):
    """The fork server ended or hung before it answered. Whether it forked is unknown."""


class ForkServer:
    """The fork server of this process: started at the first need, and again when it has ended.

    It ends with this process. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _running
        self._running: _Running | None = None

    @property
    def pid(self) -> int:
        """The process id of the fork server; 0 while there is none."""
        with self._lock:
            return self._running.pid if self._running is not None else 0

    def start(self) -> None:
        """Start the fork server, unless it runs, and do not wait for its imports.

        Raises OSError when it cannot be started.
        """
        self._started()

    def spawn(
        self,
        control: Link,
        links: Sequence[Link],
        main: Callable[[Link, Sequence[Link]], None] = worker_main,
    ) -> "ForkedWorker":
        """Fork a worker that runs `main` on these connections.

        Raises ForkServerLost, and OSError when the system starts no further process.
        """
        return self._started().fork([control, *links], main)

    def stop(self) -> None:
        """End the fork server and its workers. A later `spawn` starts another."""
        with self._lock:
            if self._running is not None:
                self._running.close()
                self._running = None

    def _started(self) -> "_Running":
        with self._lock:
            if self._running is None or self._running.has_ended:
                self._running = _Running()
            return self._running


FORK_SERVER = ForkServer()
"""The fork server of this process."""
atexit.register(FORK_SERVER.stop)


def spawn_on(device: str) -> Spawn:
    """How workers for a device are started: by fork where that is possible."""
    return FORK_SERVER.spawn if can_fork(device) else Subprocess


def start_ahead(devices: Iterable[str]) -> None:
    """Start the fork server, if a worker on one of these devices needs it, and do not wait."""
    if any(map(can_fork, devices)):
        with suppress(OSError):  # met again, and reported, when a worker is started
            FORK_SERVER.start()


class ForkedWorker:
    """A worker that the fork server has forked. It outlives the fork server."""

    def __init__(self, parent: "_Running", pid: int, descriptor: int) -> None:
        self.pid = pid
        self._parent = parent
        self._descriptor = descriptor  # means this process even when its id is used again
        self._lock = threading.Lock()  # guards _code, and _descriptor from its close
        self._code: int | None = None

    def kill(self) -> None:
        """See WorkerProcess."""
        with self._lock, suppress(ProcessLookupError):
            if self._code is None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def wait(self, timeout_s: float) -> int | None:
        """See WorkerProcess. For one thread."""
        if self._code is not None:
            return self._code
        ended = select.poll()
        ended.register(self._descriptor, select.POLLIN)
        if not ended.poll(timeout_s * 1_000):
            return None
        code = self._parent.reap(self.pid)
        if code is None:
            code = self._reap()
        with self._lock:
            self._code = code
            os.close(self._descriptor)
        return code

    def _reap(self) -> int:
        """The exit code, if this process has become the parent, as process 1 does of orphans."""
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
            if ended is not None:
                is_exit = ended.si_code == os.CLD_EXITED
                return ended.si_status if is_exit else -ended.si_status
        return UNKNOWN_CODE


class _Running:
    """One process of the fork server. It answers one request at a time. Thread-safe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as undo:
            undo.enter_context(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", fork_server.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # scripts read the server's standard output
                # The threads that OpenBLAS starts for numpy would not be in a fork.
                env={"OPENBLAS_NUM_THREADS": "1", **environment()},
            )
            undo.pop_all()
        self.pid = self._process.pid
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()  # held from a request to its answer
        self._is_ready = False

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process, which ends the workers that it has forked. Waits for no request."""
        if self._is_ready:
            with suppress(OSError, subprocess.TimeoutExpired):
                hang_up(self._connection)
                self._process.wait(ANSWER_TIMEOUT_S)
        self._process.kill()
        self._process.wait()

    def fork(
        self, connections: Sequence[Link], main: Callable[[Link, Sequence[Link]], None]
    ) -> ForkedWorker:
        """See ForkServer.spawn."""
        folder = os.open(".", os.O_PATH)
        try:
            descriptors = [folder, *(connection.fileno() for connection in connections)]
            request = Fork(
                pickle.dumps(main),
                dict(environment()),
                frozenset(os.sched_getaffinity(0)),
                len(descriptors),
            )
            answer, received = self._ask(request, descriptors)
        finally:
            os.close(folder)
        if isinstance(answer, CannotFork):
            raise answer.error
        return ForkedWorker(self, answer.pid, *received)

    def reap(self, pid: int) -> int | None:
        """The exit code of a worker that has ended; None when this process has ended too."""
        with suppress(ForkServerLost):
            code: int | None = self._ask(Reap(pid))[0]
            return code
        return None

    def _ask(self, request: Fork | Reap, descriptors: Sequence[int] = ()) -> tuple[Any, list[int]]:
        """Send a request with descriptors; returns the answer with its descriptors."""
        with self._lock:
            try:
                if not self._is_ready:
                    with stage("the fork server", "importing torch"):
                        self._receive(IMPORT_TIMEOUT_S)
                    self._is_ready = True
                send(self._connection, request)
                send_descriptors(self._connection, descriptors)
                answer = self._receive(ANSWER_TIMEOUT_S)
                if not isinstance(answer, Forked):
                    return answer, []
                self._wait(ANSWER_TIMEOUT_S)
                return answer, receive_descriptors(self._connection, 1)
            except (EOFError, OSError) as error:
                self._kill()
                raise ForkServerLost("the fork server has ended, or hung and was killed") from error
            except BaseException:  # the next request must not get the rest of this answer
                self._kill()
                raise

    def _receive(self, timeout_s: float) -> Any:
        self._wait(timeout_s)
        return receive(self._connection)

    def _wait(self, timeout_s: float) -> None:
        if not self._connection.poll(timeout_s):
            raise TimeoutError

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()
