"""Servers that a trial can kill, and restart at the same address."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.served import START_TIMEOUT_S, Served
from classwire_server.cli import serve as command
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.engine.worker.spawn import Spawn
from classwire_server.server import Server
from tests.engine.worker.callers import worker_of
from tests.workers import launch_in_process

from .trial import Plan

END_TIMEOUT_S = 60.0

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.chaos.preloaded"])
"""Forks from a process that has started a model, for servers that hold theirs."""


class Process(Protocol):
    """A server in a process of its own, from when it serves until the end of the block."""

    pid: int
    target: str

    def end(self, number: int) -> int:
        """Send a signal, and return the exit code."""
        ...

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill it, if it has not ended."""
        ...


class Standalone(Served):
    """`classwire serve` as users start it: the model is in a process of its own."""

    def __init__(self, port: int = 0, **settings: Any) -> None:
        flags = [
            part
            for name, value in {"port": port, **settings}.items()
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        super().__init__("classwire", "serve", *flags)

    @property
    def worker_pid(self) -> int:
        """Process id of its model."""
        return worker_of(self.pid)

    def end(self, number: int) -> int:
        """See Process."""
        os.kill(self.pid, number)
        return self._process.wait(END_TIMEOUT_S)


class Forked:
    """A server with its model in the same process, forked from a process that has loaded torch.

    It starts in less than a second.
    """

    def __init__(self, port: int = 0, **settings: Any) -> None:
        reader, writer = multiprocessing.Pipe(duplex=False)
        config = ServerConfig(port=port, batch_tokens=512, **settings)
        self._process = forks.Process(target=_serve, args=(writer, config), daemon=True)
        self._process.start()
        writer.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        with reader:
            output = b""
            while b"serving\n" not in output:
                assert reader.poll(START_TIMEOUT_S), "the server does not start"
                part = os.read(reader.fileno(), 1_024)
                assert part, "the server ended before it served"
                output += part
        self.target = output.split()[2].decode()

    def end(self, number: int) -> int:
        """See Process."""
        os.kill(self.pid, number)
        self._process.join(END_TIMEOUT_S)
        assert self._process.exitcode is not None, "the server does not end"
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.exitcode is None:
            self.end(signal.SIGKILL)


def _serve(writer: Any, config: ServerConfig) -> None:
    os.dup2(writer.fileno(), 1)
    command.run(Server(config, launch_in_process))


def process(plan: Plan, port: int = 0, **settings: Any) -> Process:
    """Start a server process: as users do, or in short runs a forked one."""
    return Forked(port, **settings) if plan.is_short else Standalone(port, **settings)


class Replica:
    """A server at an address that stays the same when another takes over."""

    def __init__(self, start: Callable[[int], Process]) -> None:
        self._start = start
        self._ends = ExitStack()
        self.process = self._ends.enter_context(start(0))
        self.target = self.process.target

    def end(self, number: int) -> int:
        """End the server with a signal; return its exit code."""
        return self.process.end(number)

    def start(self) -> None:
        """Start another, and wait until it serves."""
        self._ends.close()
        port = int(self.target.rpartition(":")[2])
        self.process = self._ends.enter_context(self._start(port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.close()


@contextmanager
def inside(plan: Plan, spawn: Spawn | None = None, **settings: Any) -> Iterator[Server]:
    """Run a server in this process, where the trial can inspect it; its model is in another.

    `spawn` starts workers.
    """
    with Server(ServerConfig(port=0, **settings), functools.partial(launch, spawn=spawn)) as server:
        yield server


def worker_pid(server: Server) -> int:
    """Return the process id of the model of a server in this process."""
    engine = server.registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    (pid,) = engine.pids
    return pid
