"""Batches in flight when their worker process fails or ends."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from classwire_server.engine import Logits, Terms
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker import process
from classwire_server.errors import NoWorker, WorkerLost
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import is_gone
from tests.engine.worker.supervised import Start


def test_killed_while_it_computes(start: Start) -> None:
    """A batch in the worker gets WorkerLost at once, the dead worker gets no further batch, and the
    next worker answers.
    """
    model = start(faults.dies_on_long_texts)
    model.spawn.gate.clear()

    with pytest.raises(WorkerLost):
        model.engine.infer([model.long])

    assert not model.engine.is_up
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.answers()


def test_ended_by_itself(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that ends by itself is replaced too, and the failure contains its exit code. A lane
    that fails ends its process: its caller would wait for ever.
    """
    model = start(faults.breaks_its_lane_on_long_texts)
    model.spawn.gate.clear()

    with pytest.raises(WorkerLost):
        model.engine.infer([model.long])

    model.wait_for(lambda: "ended with exit code 70;" in model.engine.failure)
    assert "a lane failed: MemoryError; ending its process" in caplog.messages
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.answers()


@pytest.mark.parametrize("urgent", [False, True])
def test_a_worker_that_hangs(start: Start, caplog: pytest.LogCaptureFixture, urgent: bool) -> None:
    """The server kills a worker that does not answer a batch within worker_timeout_s."""
    model = start(worker.main, worker_timeout_s=1)
    (hung,) = model.engine.pids
    model.hang()

    with pytest.raises(WorkerLost):
        model.engine.infer([model.short], Terms(urgent))

    model.wait_for_start(2)
    assert is_gone(hung)
    problem = "bert: its process had no answer to a batch after 1 s, and was killed"
    assert f"{problem}; starting another in 0.1 s" in caplog.messages


def test_a_batch_that_a_worker_did_not_get(start: Start) -> None:
    """A batch that is still being sent when its worker ends goes to another device. If there is
    none, it gets NoWorker.
    """
    model = start(worker.main, device="cpu,cpu")
    model.spawn.gate.clear()
    batch = [model.long] * 60  # more than a connection holds

    def send_to_a_hung_worker(caller: ThreadPoolExecutor) -> Future[Logits]:
        model.hang()
        sending = caller.submit(model.engine.infer, batch)
        assert eventually(lambda: 1 in model.engine.in_flight)
        model.kill()
        return sending

    with ThreadPoolExecutor(1) as caller:
        assert send_to_a_hung_worker(caller).result(PATIENCE_S).values.shape == (60, 5)
        assert isinstance(send_to_a_hung_worker(caller).exception(PATIENCE_S), NoWorker)


def test_a_process_that_cannot_be_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server starts another worker without waiting for one that no signal ends, as when it is
    blocked on a broken device.
    """
    monkeypatch.setattr(process, "END_TIMEOUT_S", 0.1)
    model = start(worker.main, worker_timeout_s=1)
    [immortal] = model.spawn.workers
    model.hang()

    with monkeypatch.context() as patched:
        patched.setattr(immortal, "kill", lambda: None)
        with pytest.raises(WorkerLost):
            model.answers()
        model.wait_for_start(2)

    assert f"bert: process {immortal.pid} cannot be killed" in caplog.messages
    immortal.kill()


def test_an_answer_that_cannot_be_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server replaces the worker: the next caller must not get the rest of the answer."""
    model = start(worker.main)
    model.spawn.gate.clear()

    def fail(connection: object) -> object:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(process, "receive", fail)
        with pytest.raises(WorkerLost):
            model.answers()
    with pytest.raises(NoWorker):
        model.answers()
    model.wait_for(lambda: "could not be read: MemoryError;" in model.engine.failure)
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.answers()
