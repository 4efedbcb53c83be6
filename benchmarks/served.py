"""Servers to measure: child processes that print their address, then `serving`."""

import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .instrument import MeasurementError, children, descendants, pin

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0

CLASSWIRE = ("classwire", "serve", "--port", "0", "--log-level", "info")
ECHO = ("benchmarks.echo",)
COLLECTOR = ("benchmarks.collector",)


class Served:
    """A server `python -m COMMAND`, ready to serve, until the block ends.

    `environment` is added to that of this process. `start_s` is the time from start to `serving`,
    `admin` and `metrics` are the addresses of these ports, "" for none.
    Raises MeasurementError, with the last line of the log, if the server ends before it serves.
    """

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _stop
        started_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
        )
        self.pid = self._process.pid
        try:
            self.target = self._line("listening on ")
            self.admin = self._line("admin on ") if "--admin-port" in command else ""
            self.metrics = self._line("metrics on ") if "--metrics-port" in command else ""
            self._line("serving")
        except BaseException:
            self._stop()
            raise
        self.start_s = time.perf_counter() - started_s

    @property
    def pids(self) -> list[int]:
        """The ids of the server's process and of all processes below it."""
        return [self.pid, *descendants(self.pid)]

    @property
    def workers(self) -> list[int]:
        """The ids of its models' processes. They start no processes, unless one compiles."""
        return [pid for pid in descendants(self.pid) if not children(pid)]

    @property
    def log(self) -> str:
        """The server's log so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def pin(self, server: Iterable[int], workers: Iterable[int]) -> None:
        """Pin the server's process to cores, and to others the workers and what forks them."""
        own, *below = self.pids
        pin(own, server)
        for pid in below:
            pin(pid, workers)

    def memory_bytes(self) -> int:
        """Return the memory of all its processes; counts shared pages once."""
        return sum(map(pss_bytes, self.pids))

    def wait_for_log(self, pattern: str, timeout_s: float) -> str | None:
        """Return the first log line that matches, None after the timeout."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            found = re.search(f".*(?:{pattern}).*", self.log)
            if found:
                return found[0]
            time.sleep(0.5)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _line(self, prefix: str) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            in_time = ready.select(START_TIMEOUT_S)
        line = self._process.stdout.readline().decode().strip() if in_time else ""
        if not line.startswith(prefix):
            last = (self.log.strip().splitlines() or ["no log"])[-1]
            raise MeasurementError(f"the server did not start: {last}")
        return line.removeprefix(prefix)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


def pss_bytes(pid: int) -> int:
    """Return a process's PSS: pages that n processes share count 1/n (proc(5), smaps_rollup).

    Raises MeasurementError if the system does not report it.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise MeasurementError(f"memory: {error.strerror}") from None
    return 1_024 * int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]


def seconds_to_import(statement: str, environment: Sequence[tuple[str, str]] = ()) -> float:
    """Return the seconds that a new interpreter takes to start, run a statement and exit."""
    started_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", statement], env={**os.environ, **dict(environment)}, check=True
    )
    return time.perf_counter() - started_s
