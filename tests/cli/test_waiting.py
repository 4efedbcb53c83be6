"""What a terminal shows while a command waits for the server."""

import os
import pty
import select
import time
from pathlib import Path

from classwire.testing import FakeServer
from tests.cli.conftest import Spawn

PATIENCE_S = 60.0


def read_until(terminal: int, wanted: bytes) -> bytes:
    """Read a terminal until it shows something. Empty bytes: until its last writer closes it."""
    shown, end_s = b"", time.monotonic() + PATIENCE_S
    while not wanted or wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], max(end_s - time.monotonic(), 0))
        assert ready, shown
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # how a terminal reports that the last writer closed it
            assert not wanted, shown
            break
    return shown


def test_the_bar_shows_the_wait(spawn: Spawn, tmp_path: Path) -> None:
    """While the server is gone the bar shows how long the command waits for it, in place of rate
    and remaining time. They come back with the server.
    """
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good\n" * 5_000)
    ours, theirs = pty.openpty()
    with FakeServer(["x"]) as server:
        server.hold()
        files = ["--file", str(source), "--output", str(output), "--target", server.target]
        process = spawn("classify", *files, stderr=theirs, TERM="xterm", COLUMNS="100")
        os.close(theirs)
        assert b"waiting" not in read_until(ours, b"texts/s, 0 errors")
    assert b"texts/s" not in read_until(ours, b", waiting for the server, 5").rpartition(b"\r")[2]
    with FakeServer(["x"], address=server.target):
        back = read_until(ours, b"")
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    assert b"5,000 rows, " in back.strip().rpartition(b"\r")[2]
    assert output.read_bytes().count(b"\n") == 5_000


def test_health_shows_its_wait(spawn: Spawn) -> None:
    """On a terminal `health --wait-s` shows that it waits, and then only the answer."""
    ours, theirs = pty.openpty()
    with FakeServer(["x"]) as server:
        server.set_serving(False)
        target = ["--target", server.target, "--wait-s", "60"]
        process = spawn("health", *target, stderr=theirs, TERM="xterm", COLUMNS="80")
        os.close(theirs)
        read_until(ours, b"waiting for the server, up to 60 s")
        server.set_serving(True)
        out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert (process.returncode, out) == (0, b"SERVING\n")
