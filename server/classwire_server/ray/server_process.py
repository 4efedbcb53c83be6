"""`classwire serve` as a child of a replica."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

KILL_AFTER_S = 10.0
"""How much longer than its drain timeout a server may take to end."""


class ServerProcess:
    """A server on any free port of a host. It drains at `end`, or when this process ends.

    `target` is its address for callers, `local_target` a Unix socket for this node, and `metrics`
    the address of its metrics on this node. The constructor waits until the server is ready.
    Raises RuntimeError, with the server's last line, if it does not start. For use by one thread.
    """

    def __init__(self, host: str, arguments: Sequence[str], drain_timeout_s: float) -> None:
        self._drain_timeout_s = drain_timeout_s
        self._folder = Path(tempfile.mkdtemp(prefix="classwire-"))
        self._last_line = ""
        socket = self._folder / "socket"
        self.local_target = f"unix:{socket}"
        reader, self._writer = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "classwire_server.cli.child", str(reader)),
                *arguments,
                *("--host", host, "--port", "0", "--unix-socket", str(socket)),
                *("--metrics-host", "127.0.0.1", "--metrics-port", "0"),
                *("--drain-timeout-s", str(drain_timeout_s)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[reader],
            text=True,
            errors="replace",  # else one bad byte ends the thread that empties the pipe of the log
            start_new_session=True,
        )
        os.close(reader)
        self._log = threading.Thread(target=self._forward_log, daemon=True)
        self._log.start()
        try:
            self.target = self._announced("listening on ")
            self.metrics = self._announced("metrics on ")
            self._announced("serving")
        except BaseException:
            self.end()
            raise

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Drain the server and wait until it has ended. May be called again."""
        if self._writer >= 0:
            # No SIGTERM: the end of this process would be a second signal, which ends the drain.
            os.close(self._writer)
            self._writer = -1
        try:
            self._process.wait(self._drain_timeout_s + KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _announced(self, prefix: str) -> str:
        """Read standard output up to a line that begins so; returns the rest of the line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        self._log.join(KILL_AFTER_S)
        raise RuntimeError(f"the server did not start: {self._last_line.strip()}")

    def _forward_log(self) -> None:
        """Write the server's log to this process's, which Ray keeps."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_line = line
            sys.stderr.write(line)
