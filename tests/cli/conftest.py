"""Fixtures that run the command: in this process where possible, else as a process."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from classwire.cli import main


@dataclass(frozen=True)
class Ended:
    """Output and exit code of a finished command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def complaint(self) -> str:
        """The single line on standard error; fails for more lines, or for a traceback."""
        (line,) = self.err.splitlines()
        assert line.startswith("classwire: ")
        return line.removeprefix("classwire: ")


Run = Callable[..., Ended]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def classwire(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `main` here; `stdin` is its input (None: closed), `columns`
    its width.
    """

    def run(*args: str, stdin: bytes | None = b"", columns: int = 80) -> Ended:
        monkeypatch.setenv("COLUMNS", str(columns))
        given = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr(sys, "stdin", given)
        code = main(list(args))
        out, err = capsysbinary.readouterr()
        return Ended(code, out.decode(), err.decode())

    return run


@pytest.fixture
def spawn() -> Spawn:
    """Return a function that starts `python -m classwire` as a process with pipes."""

    def start(
        *args: str, stderr: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "classwire", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | environment,
            start_new_session=True,
        )

    return start
