"""A Classwire server as a child process, on a free port."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from classwire.cli.failures import Failure, one_line, uninterrupted
from classwire_server.cli import child

STANDARD_INPUT = 0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0


class LocalServer:
    """Starts on entry and waits until it listens; on exit sends SIGTERM and waits.

    Raises Failure with the server's last log line if it does not start, or does not stop cleanly.
    However the block ends, the server and its models' processes have ended then. If this process
    ends in the block, for any reason, the server ends after it. For the main thread.
    """

    def __init__(self, device: str) -> None:
        self.target = ""
        """Address of the server, once it listens."""
        self.exit_code: int | None = None
        """Exit code of the process, once it has ended."""
        self._command = [sys.executable, "-m", child.__name__, str(STANDARD_INPUT)]
        self._command += ["--host", "127.0.0.1", "--port", "0"]
        self._command += ["--device", device] if device else []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        try:
            with uninterrupted():  # else a signal might leave a process that nobody knows
                self._process = subprocess.Popen(
                    self._command,
                    bufsize=0,
                    stdin=subprocess.PIPE,  # closes when this process ends
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    start_new_session=True,  # keeps Ctrl-C from the server: `_stop` ends it
                )
            self.target = self._announced("listening on ")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        last_line = self._stop()
        if error is None and self.exit_code != 0:
            raise Failure(f"the server ended with exit code {self.exit_code}{last_line}")

    @property
    def pid(self) -> int:
        """Process id of the server, once it has started."""
        assert self._process is not None
        return self._process.pid

    def wait_until_serving(self) -> None:
        """Wait until all models are ready."""
        self._announced("serving")

    def _announced(self, prefix: str) -> str:
        """Read the next line of the server's standard output, and return what follows `prefix`."""
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            in_time = ready.select(START_TIMEOUT_S)
        line = self._process.stdout.readline().decode().strip() if in_time else ""
        if not line.startswith(prefix):
            why = self._stop() if in_time else f" within {START_TIMEOUT_S:g} s{self._stop()}"
            raise Failure(f"the server did not start{why}")
        return line.removeprefix(prefix)

    def _stop(self) -> str:
        """Stop the process, by force if need be, and return its last log line."""
        if self._process is None or self.exit_code is not None:
            return ""
        try:
            self._process.terminate()
            self.exit_code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also after a second Ctrl-C
            self._end(self._process)
        with self._log:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f": {one_line(lines[-1])}" if lines else ""

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill what is left of the server, and of the processes that it started."""
        with uninterrupted():
            process.kill()  # does nothing if the process has ended
            self.exit_code = process.wait()
            with suppress(OSError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
