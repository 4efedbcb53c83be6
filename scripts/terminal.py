"""Runs a command in a new terminal, and returns what its screen shows at the end."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

ROWS, COLUMNS = 24, 80
TIMEOUT_S = 110
_NOT_INHERITED = {"COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR"}
_MOVE = re.compile(r"\n|\r|\x1b\[1A|\x1b\[2K|\x1b\[\?25[lh]")
"""What moves the cursor or clears its line, in what rich and `scripts.step` write."""


def in_terminal(
    command: Sequence[str | Path],
    *,
    columns: int = COLUMNS,
    folder: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run a command in a new terminal and return its output, colours and cursor movements included.

    Raises subprocess.CalledProcessError if the command fails or does not end within TIMEOUT_S.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        cwd=folder,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )
    os.close(terminal)
    watchdog = threading.Timer(TIMEOUT_S, process.kill)
    watchdog.start()
    written = bytearray()
    with open(controller, "rb", buffering=0) as screen:
        try:
            while part := screen.read(65536):
                written += part
        except OSError:  # how Linux reports that the last program has closed the terminal
            pass
    code = process.wait()
    watchdog.cancel()
    output = written.decode(errors="replace").replace("\r\n", "\n")
    if code:
        raise subprocess.CalledProcessError(code, command, output)
    return output


def shown(output: str) -> str:
    """Return what the screen shows after an output: its lines as they are at the end, in colour.

    A program may go up a line and clear it. It writes only at the ends of lines.
    """
    lines, row, end = [""], 0, 0
    for move in [*_MOVE.finditer(output), None]:
        lines[row] += output[end : move.start() if move else len(output)]
        if move is None:
            break
        end = move.end()
        if move[0].endswith("\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif move[0].endswith("A"):
            row = max(row - 1, 0)
        elif move[0].endswith("K"):
            lines[row] = ""
    return "\n".join(lines).rstrip("\n") + "\n"
