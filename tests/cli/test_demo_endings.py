"""`classwire demo` that a signal ends: nothing is left behind."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.instrument import children, descendants
from classwire.cli.failures import terminating, uninterrupted
from tests.cli.conftest import Spawn
from tests.contract.engines import eventually
from tests.engine.worker.callers import is_gone, stop

MARK = "CLASSWIRE_TESTED_DEMO"
"""Name of a variable that all processes of a tested demo have in their environment."""


def processes_marked(mark: str) -> list[int]:
    """Return the processes with the mark in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}\0".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


@pytest.mark.parametrize("moment", ["Starting a server", "500 reviews by one stream"])
def test_ctrl_c_leaves_nothing_behind(spawn: Spawn, moment: str) -> None:
    """Ctrl-C, at the start or in the stream, ends with one line and exit code 130. Neither the
    server nor a model's process remains.
    """
    with spawn("demo", **{MARK: moment}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(moment.encode()):
            pass
        assert eventually(lambda: children(process.pid) != [], 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"classwire: interrupted\n")
    assert eventually(lambda: processes_marked(moment) == [])


def test_a_second_ctrl_c_does_not_wait_for_the_server(spawn: Spawn) -> None:
    """If the server does not stop after Ctrl-C, another one kills it and hung processes of it."""
    with spawn("demo", **{MARK: "second"}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(b"It serves"):
            pass
        [server] = children(process.pid)
        others = descendants(server)
        for each in (server, *others):
            stop(each)
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: has_sigterm_pending(server), 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"classwire: interrupted\n")
    assert others
    assert eventually(lambda: all(map(is_gone, [server, *others])))
    assert eventually(lambda: processes_marked("second") == [])


def has_sigterm_pending(pid: int) -> bool:
    """Whether SIGTERM waits for a stopped process."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)$", status, re.M)
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in pending)


@contextmanager
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """Context in which new processes do not inherit that a signal is ignored, as by `nohup`."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_the_demo_and_its_server(spawn: Spawn, number: signal.Signals) -> None:
    """SIGTERM, and SIGHUP of a terminal that closes, stop the demo and its server, with the exit
    codes 143 and 129.
    """
    with not_ignored(number), spawn("demo", **{MARK: number.name}) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"Starting a server")
        assert eventually(lambda: children(process.pid) != [], 60)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, b"")
    assert eventually(lambda: processes_marked(number.name) == [])


@pytest.mark.parametrize("moment", ["Starting a server", "500 reviews by one stream"])
def test_the_server_ends_with_the_demo(spawn: Spawn, moment: str) -> None:
    """However the demo's process ends, its server and the model's process end after it."""
    mark = f"killed: {moment}"
    with spawn("demo", **{MARK: mark}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(moment.encode()):
            pass
        assert eventually(lambda: children(process.pid) != [], 60)
        process.kill()
        process.communicate(timeout=60)
    assert eventually(lambda: processes_marked(mark) == [], 60)


def test_nohup() -> None:
    """SIGHUP stays ignored where it is, as under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminating(at_hang_up=True):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_wait_for_the_end_of_a_step() -> None:
    """A signal while a process is being started or ended takes effect after it."""
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")
        steps.append("more")
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
