"""Ways to start processes that have torch and transformers: their processor time and memory.

`python -m benchmarks.forks`, on Linux. Each way starts two processes one after the other.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from classwire_server.engine.worker.fork_server import MODULES
from classwire_server.engine.worker.forking import ForkServer
from classwire_server.engine.worker.protocol import Link, receive, send

from .figures import digits
from .instrument import descendants, processor_s
from .served import pss_bytes

Start = Callable[[Link], Callable[[], Any]]
"""Starts a process that runs `tell`; returns a function that waits for its end."""

END_TIMEOUT_S = 20.0

INTERPRETER = f"""
import importlib, sys
for module in {MODULES!r}:
    importlib.import_module(module)
from benchmarks.forks import tell
from multiprocessing.connection import Connection
tell(Connection(int(sys.argv[1])), [])
"""


def tell(control: Link, links: Sequence[Link]) -> None:
    """Say that this process has begun, and end when the other side closes."""
    send(control, None)
    with suppress(EOFError):
        receive(control)


@contextmanager
def _interpreters() -> Iterator[Start]:
    def start(control: Link) -> Callable[[], Any]:
        number = control.fileno()
        command = [sys.executable, "-c", INTERPRETER, str(number)]
        return subprocess.Popen(command, pass_fds=[number]).wait

    yield start


@contextmanager
def _multiprocessing() -> Iterator[Start]:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(MODULES))

    def start(control: Link) -> Callable[[], Any]:
        process = forks.Process(target=tell, args=(control, []), daemon=True)
        process.start()
        return process.join

    yield start


@contextmanager
def _own() -> Iterator[Start]:
    forks = ForkServer()
    try:
        yield lambda control: partial(forks.spawn(control, [], tell).wait, END_TIMEOUT_S)
    finally:
        forks.stop()


WAYS: Mapping[str, Callable[[], AbstractContextManager[Start]]] = {
    "a fresh interpreter": _interpreters,
    "the fork server": _own,
    "`multiprocessing`'s fork server": _multiprocessing,  # last, since it stays
}


def costs(way: AbstractContextManager[Start]) -> list[tuple[float, float]]:
    """Return processor time in seconds and memory in MB of all processes, after each start."""
    found = []
    with way as start, ExitStack() as ends:
        for _ in range(2):
            ours, theirs = Pipe()
            with theirs:
                ends.callback(start(theirs))
            ends.callback(ours.close)  # comes before the wait
            receive(ours)
            pids = descendants(os.getpid())
            memory_mb = sum(map(pss_bytes, pids)) / 1e6
            found.append((sum(map(processor_s, pids)), memory_mb))
    return found


def main() -> None:
    """Print a table."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # `tell` is found in all of them
    print("| way | processor time, s: first, further | memory, MB: first, further |")
    print("|---|---:|---:|")
    for name, way in WAYS.items():
        (first_s, first_mb), (both_s, both_mb) = costs(way())
        further = f"{digits(both_s - first_s)}", f"{digits(both_mb - first_mb)}"
        print(f"| {name} | {digits(first_s)}, {further[0]} | {digits(first_mb)}, {further[1]} |")


if __name__ == "__main__":
    from benchmarks import forks  # processes find `tell` by the name of this module

    forks.main()
