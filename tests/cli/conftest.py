"""How the tests run the command: in this process where that is enough, else as users do."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from classwire.cli import main


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def complaint(self) -> str:
        """The one line on standard error; fails when there are more, or a traceback."""
        (line,) = self.err.splitlines()
        assert line.startswith("classwire: ")
        return line.removeprefix("classwire: ")


Run = Callable[..., Ended]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def classwire(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `main` in this process; `stdin` is its input (None: closed), `columns` its width."""

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
    """Starts `python -m classwire` as a process with pipes for everything."""

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


@pytest.fixture
def unanswered_target() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
