"""A crash on purpose: the demo kills a model's process of its own server."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PS = ("ps", "-A", "-o", "pid=", "-o", "ppid=")
"""Lists each process with its parent on every POSIX system, where it is installed."""


class Crash:
    """The end of one process of a model, and the process that takes over.

    The server is ready when the crash is created.
    """

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._before = model_processes(server_pid)
        self.pid: int | None = None
        """The process that was killed; None before that, and where it cannot be done."""

    def happen(self) -> None:
        """Kill a process, if there is one and the system allows it."""
        for pid in sorted(self._before):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                self.pid = pid
                return

    @property
    def successor(self) -> int | None:
        """The process that took over, once the model answers again."""
        return next(iter(model_processes(self._server_pid) - self._before), None)


def model_processes(server_pid: int) -> frozenset[int]:
    """Return the process ids of the models of a server that is ready; none if it finds none.

    They are the descendants of the server that have no child of their own: on Linux a model's
    process may be a child of the fork server.
    """
    parents = dict(_parents())
    leaves = parents.keys() - parents.values()
    return frozenset(pid for pid in leaves if _is_below(pid, server_pid, parents))


def _is_below(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process id with that of its parent; none where the system does not tell."""
    if (_PROC / "self" / "stat").exists():  # Linux, whose slim images have no ps
        for process in _PROC.glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                stat = (process / "stat").read_text(encoding="utf-8", errors="replace")
                yield int(process.name), int(stat.rpartition(")")[2].split()[1])
        return
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(_PS, capture_output=True, text=True, check=True, timeout=5)
        for line in listed.stdout.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)
