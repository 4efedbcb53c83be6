"""The fork server: what a fork gets, and what happens when the fork server ends or hangs."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from benchmarks.instrument import descendants
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker import forking
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker import spawn as spawning
from classwire_server.engine.worker.fork_protocol import receive_descriptors, send_descriptors
from classwire_server.engine.worker.forking import (
    FORK_SERVER,
    ForkedWorker,
    ForkServer,
    ForkServerLost,
    spawn_on,
)
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.engine.worker.protocol import Link, receive, send
from classwire_server.engine.worker.spawn import UNKNOWN_CODE, Spawn, Subprocess, can_fork
from classwire_server.tokenization import Truncation
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker import surroundings
from tests.engine.worker.callers import encodings, is_gone, stop
from tests.engine.worker.supervised import Supervised
from tests.engine.worker.surroundings import Surroundings, files, forked
from tests.faults import Succession

pytestmark = pytest.mark.skipif(not can_fork("cpu"), reason="this system forks no workers")

IMPORT_PATIENCE_S = 240
"""Time for a process to import torch, far above the usual time."""

TROUBLED = """
import errno, itertools, os, socket, time

def fails(*_):
    raise OSError(errno.EAGAIN, "no more processes")

def hangs(*_):
    time.sleep(3600)

def in_turn(function, *faults):
    turns = itertools.chain(faults, itertools.repeat(function))
    return lambda *given: next(turns)(*given)

os.fork = in_turn(os.fork, fails)
os.pidfd_open = in_turn(os.pidfd_open, fails)
socket.send_fds = in_turn(socket.send_fds, socket.send_fds, hangs)
"""
"""A system that has no room for a first fork, and no descriptor of a second. The fork server hangs
before it sends the descriptor of a fourth.
"""


@pytest.fixture
def one_core() -> Iterator[int]:
    """This process runs on one core, and its fork server was started on all."""
    FORK_SERVER.start()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield min(cores)
    os.sched_setaffinity(0, cores)


@pytest.mark.timeout(IMPORT_PATIENCE_S)
@pytest.mark.parametrize("spawn", [FORK_SERVER.spawn, Subprocess], ids=["fork", "interpreter"])
def test_both_ways_to_start_a_worker(
    bert: str, spawn: Spawn, one_core: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A forked worker and one of its own interpreter have the same name, folder, cores, standard
    files and descriptors, compute the same, and end with the engine.
    """
    monkeypatch.chdir(tmp_path)
    config = ServerConfig(model=(bert,), batch_tokens=512, device="cpu")
    launched = launch(config.sources[0], config, lambda: None, spawn)
    try:
        assert isinstance(launched.engine, WorkerPool)
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        values = launched.engine.infer(texts).values
        (pid,) = launched.engine.pids
        assert Path(f"/proc/{pid}/comm").read_text() == "classwire-model\n"
        assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path)
        assert os.sched_getaffinity(pid) == {one_core}
        opened = files(pid)
        assert (opened[0], opened[1]) == ("/dev/null", opened[2])
        sockets = [name for name in opened.values() if name.startswith("socket:")]
        assert len(sockets) == len(set(sockets)) == launched.engine.lanes + 3
    finally:
        launched.engine.close()
    assert is_gone(pid)
    assert values.shape == (len(texts), 5)
    assert abs(values - _values(bert)).max() <= 1e-5


def _values(bert: str) -> Any:
    """The logits of a worker that is started as usual."""
    config = ServerConfig(model=(bert,), batch_tokens=512)
    launched = launch(config.sources[0], config, lambda: None, FORK_SERVER.spawn)
    try:
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        return launched.engine.infer(texts).values
    finally:
        launched.engine.close()


def test_a_fork_begins_with_the_imports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has torch, transformers and BERT, and neither gRPC, the compiler, scipy nor CUDA. It has
    one thread, the server's environment of today, and the patterns of weights' names. Garbage
    collection runs, and leaves alone what the fork server has imported.
    """
    monkeypatch.setenv("SET_SINCE", "yes")
    with forked(surroundings.tells) as (_, found):
        assert isinstance(found, Surroundings)
    assert {"torch", "transformers.models.bert.modeling_bert"} <= found.modules
    assert not {"grpc", "scipy", "torch._inductor.compile_fx"} & found.modules
    assert not [name for name in found.modules if name == "sklearn" or name.startswith("sklearn.")]
    assert (found.has_cuda_open, found.finds_scipy, found.threads) == (False, True, 1)
    assert found.environment["SET_SINCE"] == "yes"
    assert found.environment["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "passive")
    assert found.has_compiled_conversions
    assert found.collects
    assert found.frozen > 100_000


def test_the_fork_server_stays_fit_to_fork(bert: str) -> None:
    """After its workers have computed, it still has one thread, and no file but its connection."""
    _values(bert)
    assert len(list(Path(f"/proc/{FORK_SERVER.pid}/task").iterdir())) == 1
    assert sorted(files(FORK_SERVER.pid)) == [0, 1, 2, _connection(FORK_SERVER.pid)]
    assert Path(f"/proc/{FORK_SERVER.pid}/comm").read_text() == "classwire-forks\n"


def _connection(pid: int) -> int:
    """The descriptor in a fork server's command line."""
    return int(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2])


def test_a_fork_sees_nothing_of_another() -> None:
    """No file, environment or folder of a running worker reaches the next one."""
    with (
        forked(surroundings.leaves_traces) as (first, its),
        forked(surroundings.tells) as (second, found),
    ):
        private = {name for number, name in files(first.pid).items() if number > 2}
        assert private
        assert not private & set(files(second.pid).values())
    assert its.environment["OF_ANOTHER_MODEL"] == "secret"
    assert "OF_ANOTHER_MODEL" not in found.environment
    assert (its.folder, found.folder) == ("/", os.getcwd())


def test_an_error_reaches_standard_error_and_the_exit_code(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A worker that raises ends with 1, one that returns with 0, and a killed one with its
    signal.
    """
    codes = []
    for main in (surroundings.raises, surroundings.ends):
        with forked(main) as (process, _):
            codes.append(process.wait(PATIENCE_S))
    with forked(surroundings.tells) as (process, _):
        assert process.wait(0) is None
        process.kill()
        codes.append(process.wait(PATIENCE_S))
        process.kill()  # does nothing
        assert process.wait(0) == -signal.SIGKILL
    assert codes == [1, 0, -signal.SIGKILL]


def test_forks_leave_nothing() -> None:
    """A hundred processes, four at a time, leave no descriptor and no zombie anywhere."""

    def one(_: int) -> int | None:
        with forked(surroundings.ends) as (process, _):
            return process.wait(PATIENCE_S)

    one(0)
    own, running = set(files(os.getpid())), descendants(FORK_SERVER.pid)
    of_fork_server = set(files(FORK_SERVER.pid))
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(one, range(100))) == {0}
    assert set(files(os.getpid())) <= own  # what earlier tests left may be closed meanwhile
    assert set(files(FORK_SERVER.pid)) == of_fork_server
    assert descendants(FORK_SERVER.pid) == running


@pytest.mark.timeout(IMPORT_PATIENCE_S)
def test_a_killed_fork_server_is_replaced(bert: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its worker goes on. The next worker comes from another fork server. How a worker ended that
    outlived its fork server is unknown.
    """
    model = _forking(bert)
    try:
        killed, (first,) = FORK_SERVER.pid, model.engine.pids
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: is_gone(killed))
        assert model.answers()
        assert model.engine.pids == (first,)

        model.kill()

        model.wait_for(lambda: model.engine.pids not in ((), (first,)), IMPORT_PATIENCE_S)
        assert model.answers()
        assert FORK_SERVER.pid != killed
        assert descendants(FORK_SERVER.pid) == list(model.engine.pids)
        assert "bert: its process ended after its fork server had" in caplog.text
    finally:
        model.engine.close()
    with forked(surroundings.tells) as (orphan, _):
        os.kill(FORK_SERVER.pid, signal.SIGKILL)
        orphan.kill()
        assert orphan.wait(PATIENCE_S) == UNKNOWN_CODE


@pytest.mark.timeout(IMPORT_PATIENCE_S)
@pytest.mark.parametrize("fate", ["killed", "hangs"])
def test_a_fork_server_lost_while_it_forks(
    bert: str, fate: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fresh interpreter takes the worker's place, and the next fork is possible again."""
    model = _forking(bert)
    try:
        lost, before = FORK_SERVER.pid, model.engine.pids
        model.spawn.gate.clear()
        model.kill()
        model.wait_for(lambda: "SIGKILL" in model.engine.failure)
        stop(lost)
        is_asked = _announced(monkeypatch)
        if fate == "hangs":
            monkeypatch.setattr(forking, "ANSWER_TIMEOUT_S", 0.1)

        model.spawn.gate.set()

        assert is_asked.wait(PATIENCE_S)
        if fate == "killed":
            os.kill(lost, signal.SIGKILL)
        model.wait_for(lambda: model.engine.pids not in ((), before), IMPORT_PATIENCE_S)
        assert model.answers()
        assert is_gone(lost)
        (pid,) = model.engine.pids
        assert b"classwire_server.engine.worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert "starting a fresh interpreter" in caplog.text
    finally:
        model.engine.close()
    monkeypatch.undo()
    with forked(surroundings.ends) as (process, _):
        assert process.wait(PATIENCE_S) == 0


def _announced(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when the fork server has a request."""
    is_asked = threading.Event()

    def announce(connection: Link, descriptors: Sequence[int]) -> None:
        send_descriptors(connection, descriptors)
        is_asked.set()

    monkeypatch.setattr(f"{forking.__name__}.send_descriptors", announce)
    return is_asked


def _forking(bert: str) -> Supervised:
    """A model whose workers are forked as a server forks them."""
    return Supervised(Succession(worker.main), model=(bert,), device="cpu")


def test_models_that_start_at_once(bert: str) -> None:
    """Each gets a worker of its own."""
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: _forking(bert), range(4)))
    try:
        assert len({model.engine.pids for model in models}) == 4
        assert all(model.answers() for model in models)
    finally:
        for model in models:
            model.engine.close()


@pytest.mark.timeout(IMPORT_PATIENCE_S)
def test_a_system_without_room_for_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the system reaches the caller, and leaves no process and no descriptor. The fork
    server stays, and forks once there is room. If it hangs, it is lost.
    """
    (tmp_path / "sitecustomize.py").write_text(TROUBLED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forks = ForkServer()
    try:
        for _ in range(2):
            with pytest.raises(BlockingIOError, match="no more processes"):
                _spawn(forks)
        pid = forks.pid
        before, limits = files(pid), resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            _spawn(forks)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert descendants(pid) == []
        assert files(pid) == before

        assert _spawn(forks).wait(PATIENCE_S) == 0
        assert forks.pid == pid

        monkeypatch.setattr(forking, "ANSWER_TIMEOUT_S", 0.1)
        with pytest.raises(ForkServerLost):
            _spawn(forks)
        assert is_gone(pid)
    finally:
        forks.stop()


def _spawn(forks: ForkServer) -> ForkedWorker:
    """Fork a worker that ends at once, since its connections close."""
    ours, theirs = Pipe()
    with ours, theirs:
        return forks.spawn(theirs, [])


@pytest.mark.parametrize("number", [1, 300])
def test_more_descriptors_than_a_process_may_open(number: int) -> None:
    """The receiver raises instead of waiting for more, opens none, and the connection stays."""
    sender, receiver = Pipe()
    with sender, receiver:
        free = os.dup(receiver.fileno())
        os.close(free)
        send_descriptors(sender, [receiver.fileno()] * number)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + number - 1, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                receive_descriptors(receiver, number)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert free not in files(os.getpid())
        send(sender, "next")
        assert receive(receiver) == "next"


def test_other_devices_get_an_interpreter_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CUDA, MPS and "auto" on a machine with a GPU are not forked; nor is anything on macOS, or
    where the system does not give descriptors of processes.
    """
    monkeypatch.setattr(spawning, "GPUS", (str(tmp_path / "nvidiactl"),))
    assert [can_fork(device) for device in ("cpu", "auto")] == [True, True]
    assert {spawn_on(device) for device in ("cuda", "cuda:1", "mps")} == {Subprocess}
    (tmp_path / "nvidiactl").touch()
    assert [can_fork(device) for device in ("cpu", "auto")] == [True, False]

    def unknown(*_: Any) -> int:
        raise OSError(38, "not implemented")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pidfd_open", unknown)
        assert not can_fork("cpu")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not can_fork("cpu")
