"""A worker that ends, however and whenever, is replaced by another."""

import gc
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, EngineTraits, Execution, Layout, Precision, Terms
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker import process
from classwire_server.engine.worker import supervisor as supervision
from classwire_server.engine.worker.pool import launch
from classwire_server.engine.worker.protocol import Job, Ready
from classwire_server.engine.worker.supervisor import Backoff, replacement_job
from classwire_server.errors import NoWorker, StartError, WorkerLost
from tests import faults
from tests.contract.engines import PATIENCE_S, PROFILE, eventually
from tests.engine.worker.callers import is_gone
from tests.engine.worker.supervised import Start, Supervised
from tests.faults import Succession


def test_killed_while_idle(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Until there is another worker no batch starts, and `failure` has the reason. The log says how
    the worker ended and when the next is ready.
    """
    caplog.set_level("DEBUG", "classwire_server")
    model = start(worker.main, batch_tokens=0, log_level="debug")
    engine = model.engine
    (first,) = engine.pids
    model.spawn.gate.clear()
    assert (engine.is_up, engine.failure) == (True, "")

    model.kill()

    model.wait_for(lambda: "SIGKILL" in engine.failure)
    assert engine.failure == "its process was killed by SIGKILL; another is being started"
    assert (engine.is_up, engine.pids) == (False, ())
    assert engine.traits.precision is Precision.FLOAT32
    with pytest.raises(NoWorker):
        model.answers()
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.answers()
    assert engine.failure == ""
    assert first not in engine.pids
    lines = [record.getMessage() for record in caplog.records if "supervisor" in record.name]
    assert lines[0] == "bert: its process was killed by SIGKILL; starting another in 0.1 s"
    assert re.fullmatch(r"bert: back, \d+\.\d s after its last process ended", lines[1])
    assert len([line for line in caplog.messages if "tokens/s" in line]) == 1  # measured once


def test_starts_that_fail(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """After a worker that dies or rejects its job before it is ready, the supervisor waits longer
    each time, and logs each start with its reason.
    """
    model = start(worker.main, faults.dies_at_once, faults.rejects_its_job, worker.main)

    model.kill()

    model.wait_for_start(4)
    assert model.answers()
    lines = [record.getMessage() for record in caplog.records if "supervisor" in record.name]
    assert [re.sub(r"/\S+: ", "", line) for line in lines if "back" not in line] == [
        "bert: its process was killed by SIGKILL; starting another in 0.1 s",
        "bert: no new process: its process was killed by SIGKILL; starting another in 0.2 s",
        "bert: no new process: no memory for the weights; starting another in 0.4 s",
    ]


def test_a_start_that_hangs(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A replacement that does not get ready in time is replaced too."""
    monkeypatch.setattr(supervision, "START_TIMEOUT_S", 0.1)
    model = start(worker.main, faults.hangs_at_once, worker.main)

    model.kill()

    assert eventually(lambda: "was not ready after 0.1 s, and was killed" in caplog.text)
    monkeypatch.setattr(supervision, "START_TIMEOUT_S", PATIENCE_S)
    model.wait_for(lambda: model.engine.is_up)
    assert model.answers()


def test_a_checkpoint_that_has_changed(
    start: Start, checkpoint: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A replacement does not serve other files than those the server started with."""
    folder = shutil.copytree(checkpoint("bert"), tmp_path / "changing")
    model = start(worker.main, model=(f"bert={folder}",))
    original = (folder / "config.json").read_text()
    config = {**json.loads(original), "layer_norm_eps": 1e-3}
    (folder / "config.json").write_text(json.dumps(config))

    model.kill()

    assert eventually(lambda: "is not what it was at start" in caplog.text)
    assert not model.engine.is_up
    (folder / "config.json").write_text(original)
    model.wait_for(lambda: model.engine.is_up)
    assert model.answers()


def test_a_replacement_knows_the_files(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Once a worker has read its files in the background, those that replace it compare stamps and
    compute no fingerprint.
    """
    model = start(
        *(faults.tells_when_settled, faults.computes_no_fingerprint),
        compile_cache="/dev/null",  # only the server knows what has been measured
    )
    assert eventually(lambda: "settled" in caplog.messages)

    model.kill()

    model.wait_for_start(2)
    assert model.answers()
    assert "no new process" not in caplog.text


def test_one_of_two_devices_is_lost(start: Start) -> None:
    """The other device goes on. The lost one gets batches again once it is back."""
    model = start(worker.main, device="cpu,cpu")
    engine = model.engine
    assert engine.lanes == 2
    model.spawn.gate.clear()

    model.kill(device=0)
    model.wait_for(lambda: len(engine.pids) == 1)
    assert engine.is_up
    assert engine.failure == ""
    assert all(model.answers() for _ in range(3))
    model.kill()
    model.wait_for(lambda: not engine.is_up)

    model.spawn.gate.set()
    model.wait_for(lambda: len(engine.pids) == 2)
    assert engine.lanes == 2
    with ThreadPoolExecutor(1) as another:
        model.hang()
        stuck = another.submit(model.answers)  # of equal loads the pool takes the first
        assert eventually(lambda: 1 in engine.in_flight)
        assert all(model.answers() for _ in range(3))
        model.kill(signal.SIGCONT)
        assert stuck.result(PATIENCE_S)


def descriptors() -> int:
    """The number of open files of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def in_service(model: Supervised) -> None:
    """The worker is idle."""


def computing(model: Supervised) -> None:
    """The worker hangs with batches in flight, one of them urgent, and a further one waits."""
    model.hang()
    for urgent in (False, False, True, True):
        threading.Thread(target=_give_up, args=(model, urgent), daemon=True).start()
    assert eventually(lambda: sum(model.engine.in_flight) == 4)


def _give_up(model: Supervised, urgent: bool) -> None:
    with pytest.raises((NoWorker, WorkerLost)):
        model.engine.infer([model.short], Terms(urgent))


def waiting(model: Supervised) -> None:
    """The worker has ended, and the supervisor waits before it starts the next."""
    model.kill()
    model.wait_for(lambda: "SIGKILL" in model.engine.failure)


def restarting(model: Supervised) -> None:
    """A replacement starts, and never gets ready."""
    model.kill()
    assert eventually(lambda: len(model.spawn.workers) == 2)


def spawning(model: Supervised) -> None:
    """A replacement starts only while the engine closes, and never gets ready."""
    is_awaited, closing = threading.Event(), threading.Event()
    close = model.engine.close

    def wait(timeout_s: float) -> bool:
        is_awaited.set()
        return closing.wait(timeout_s)

    def announce_and_close() -> None:
        closing.set()
        close()

    model.spawn.gate = SimpleNamespace(wait=wait)  # type: ignore[assignment]
    model.engine.close = announce_and_close  # type: ignore[method-assign]
    model.kill()
    assert is_awaited.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def _started_once(checkpoint: Callable[..., Path]) -> None:
    """A first worker has opened the files that stay open."""
    Supervised(Succession(worker.main), model=(f"bert={checkpoint('bert')}",)).engine.close()


@pytest.mark.usefixtures("_started_once")
@pytest.mark.parametrize("state", [in_service, computing, waiting, spawning, restarting])
def test_closing_leaves_nothing(
    bert: str, monkeypatch: pytest.MonkeyPatch, state: Callable[[Supervised], None]
) -> None:
    """In every state of a worker, closing ends its process and threads and closes its files."""
    if state is waiting:
        monkeypatch.setattr(supervision, "FIRST_WAIT_S", 1_000.0)
    monkeypatch.setattr(process, "END_TIMEOUT_S", 1_000.0)  # closing must not wait for this
    threads, files = set(threading.enumerate()), descriptors()
    model = Supervised(Succession(worker.main, faults.hangs_at_once), model=(bert,))
    state(model)

    model.engine.close()

    assert all(is_gone(process.pid) for process in model.spawn.workers)
    assert eventually(lambda: set(threading.enumerate()) <= threads)
    del model
    assert descriptors() == files


def test_a_replacement_repeats_no_choice() -> None:
    """A replacement loads the same commit offline, with the precision and figures of the first."""
    config = ServerConfig(device="auto", precision="auto", min_label_agreement=0.9)
    traits = EngineTraits("cuda:1", Precision.BFLOAT16, Execution.PLAIN, Layout.PACKED)
    checkpoint: Any = SimpleNamespace(revision="c0ffee")
    measurement: Any = object()
    deviation = Deviation(0, 1.0, 0.0)
    ready = Ready(checkpoint, traits, deviation, 1, 4_096, PROFILE, (), measurement)

    job = Job(ModelSource("m", "acme/spam", "main"), config, "auto", anew=True)
    again = replacement_job(job, ready)

    found = replace(config, offline=True, precision="bfloat16", batch_tokens=4_096)
    assert again == Job(ModelSource("m", "acme/spam", "c0ffee"), found, "cuda:1", measurement)


@pytest.mark.parametrize("error", [OSError("no more processes"), RuntimeError("not now")])
def test_a_worker_that_cannot_be_started(error: Exception, bert: str) -> None:
    """`launch` raises StartError with the reason, for any type of error."""

    def spawn(*_: Any) -> Any:
        raise error

    config = ServerConfig(model=(bert,))
    with pytest.raises(StartError, match=f"cannot start a worker: {error}"):
        launch(config.sources[0], config, lambda: None, spawn)


def test_waits_grow_and_shrink() -> None:
    """Each wait is twice the last, up to 30 s; after an uptime of 60 s the backoff resets."""
    backoff = Backoff()
    waits_s = [backoff.wait_s(59.0) for _ in range(10)]
    assert waits_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert [backoff.wait_s(served_s) for served_s in (59.0, 60.0, 0.0)] == [30.0, 0.1, 0.2]
