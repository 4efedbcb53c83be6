"""The kit's servers as a command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conformance import servers

TARGETS = {"serving": "a:1", "faulty": "b:2", "draining": "c:3"}


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the servers' addresses on one line, and stops at the end of its input."""
    happened = []
    reading, writing = os.pipe()

    @contextmanager
    def running() -> Iterator[dict[str, str]]:
        os.close(writing)  # ends the command's input
        yield TARGETS
        happened.append(capsys.readouterr().out)

    monkeypatch.setattr(servers, "running", running)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        servers.main()

    assert happened == ["serving=a:1 faulty=b:2 draining=c:3\n"]
