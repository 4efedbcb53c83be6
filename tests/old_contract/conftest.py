"""Servers of contract 1.0 and of this checkout, as `classwire serve` starts them.

Run by scripts/test-old-contract, which builds the old wheels. Another interpreter imports this
module too, with the old packages.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PATIENCE_S = 60


@pytest.fixture(scope="session")
def old_target() -> Iterator[str]:
    """Yield the address of a server of contract 1.0."""
    with serving("CLASSWIRE_OLD_COMMAND") as target:
        yield target


@pytest.fixture(scope="session")
def new_target() -> Iterator[str]:
    """Yield the address of a server of this checkout."""
    with serving("CLASSWIRE_NEW_COMMAND") as target:
        yield target


@contextmanager
def serving(command: str) -> Iterator[str]:
    """Serve this checkout's embedded checkpoint with the command that a variable names.

    The old wheel's own one is another.
    """
    started = [os.environ[command], "serve", "--port", "0", "--deterministic"]
    started += ["--model", os.environ["CLASSWIRE_CHECKPOINT"]]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("listening on ").strip()
            assert server.stdout.readline() == "serving\n"
            yield address
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=PATIENCE_S) == 0
        finally:
            server.kill()
