"""How a worker's process is started: in a fresh interpreter here, or by a fork in `forking`."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .protocol import Link

UNKNOWN_CODE = 1 << 16
"""Stands for the exit code of a process whose parent ended before it."""

GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Devices by which drivers offer GPUs: NVIDIA's, that of Windows' Linux, and AMD's."""


class WorkerProcess(Protocol):
    """A running process."""

    pid: int

    def kill(self) -> None:
        """End it at once. Does nothing if it has ended."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its exit code; None after timeout_s."""
        ...


Spawn = Callable[[Link, Sequence[Link]], WorkerProcess]
"""Starts a process that runs `worker.main` on these connections."""


def environment() -> Mapping[str, str]:
    """The environment of a worker.

    Torch's threads sleep while they wait for each other: docs/concepts/decisions/0005. The hub's
    library writes its retries to standard error; `stage` logs the wait.
    """
    return {"OMP_WAIT_POLICY": "passive", "HF_HUB_VERBOSITY": "error", **os.environ}


class Subprocess:
    """A worker in a fresh Python interpreter, which imports only what a worker needs."""

    def __init__(self, control: Link, links: Sequence[Link]) -> None:
        descriptors = [connection.fileno() for connection in (control, *links)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", str(__package__), *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=2,  # scripts read the server's standard output
            env=environment(),
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


def can_fork(device: str) -> bool:
    """Whether a worker for a device, as in --device, can be forked.

    Other systems than Linux break forked processes, and CUDA starts best in a fresh one. "auto" may
    stand for a GPU where there is one.
    """
    if sys.platform != "linux" or not (device == "cpu" or (device == "auto" and not _has_gpu())):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # a kernel before 5.3, or a sandbox
        return False
    return True


def _has_gpu() -> bool:
    return any(Path(path).exists() for path in GPUS)
