"""Batches in flight when their worker process fails or ends."""

import signal
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
    next worker answers. The worker held this batch alone.
    """
    model = start(faults.dies_on_long_texts)
    model.spawn.gate.clear()

    with pytest.raises(WorkerLost) as lost:
        model.engine.infer([model.long])

    assert lost.value.is_alone
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


def test_killed_with_two_batches(start: Start) -> None:
    """Each batch gets WorkerLost, and neither was alone, although one of them gets it first."""
    model = start(faults.dies_on_two_long_texts, worker.main, lanes=2)

    with ThreadPoolExecutor(2) as callers:
        lost = [callers.submit(model.engine.infer, [model.long]).exception for _ in range(2)]
        errors = [error(PATIENCE_S) for error in lost]

    assert [isinstance(error, WorkerLost) and error.is_alone for error in errors] == [False] * 2
    assert all(isinstance(error, WorkerLost) for error in errors)


def test_killed_before_it_began(start: Start) -> None:
    """A batch that was sent and not begun gets NoWorker, urgent or not: it is not the cause."""
    model = start(worker.main)
    model.spawn.gate.clear()
    model.hang()
    with ThreadPoolExecutor(3) as callers:
        kinds = (Terms(), Terms(), Terms(urgent=True))
        sent = [callers.submit(model.engine.infer, [model.short], terms) for terms in kinds]
        assert eventually(lambda: sum(model.engine.in_flight) == 3)
        model.kill()
        assert all(isinstance(each.exception(PATIENCE_S), NoWorker) for each in sent)


def test_each_device_counts_for_itself(start: Start) -> None:
    """A worker that ends with one batch held it alone, whatever the workers of others hold."""
    model = start(faults.dies_on_long_texts, device="cpu,cpu")
    model.hang()
    with ThreadPoolExecutor(1) as another:
        held = another.submit(model.engine.infer, [model.short])  # the pool takes the first
        assert eventually(lambda: sum(model.engine.in_flight) == 1)
        with pytest.raises(WorkerLost) as lost:
            model.engine.infer([model.long])
        assert lost.value.is_alone
        model.kill(signal.SIGCONT)
        assert held.result(PATIENCE_S).values.shape == (1, 5)


def test_a_settled_batch_waits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new worker answers others meanwhile. The batch gets NoWorker if the worker ends first."""
    monkeypatch.setattr(process, "SETTLED_S", 1_000.0)
    model = start(worker.main)
    model.spawn.gate.clear()
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(model.engine.infer, [model.short], Terms(settled=True))
        assert model.answers()
        assert not waiting.done()
        model.kill()
        assert isinstance(waiting.exception(PATIENCE_S), NoWorker)
    monkeypatch.setattr(process, "SETTLED_S", 0.0)
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.engine.infer([model.short], Terms(settled=True)).values.shape == (1, 5)


@pytest.mark.parametrize("urgent", [False, True])
def test_a_worker_that_hangs(start: Start, caplog: pytest.LogCaptureFixture, urgent: bool) -> None:
    """The server kills a worker that does not answer a batch within worker_timeout_s."""
    model = start(faults.stops_on_long_texts, worker_timeout_s=1)
    (hung,) = model.engine.pids

    with pytest.raises(WorkerLost):
        model.engine.infer([model.long], Terms(urgent))

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
        with pytest.raises(NoWorker):
            model.answers()
        model.wait_for_start(2)

    assert f"bert: process {immortal.pid} cannot be killed" in caplog.messages
    immortal.kill()


def test_an_answer_that_cannot_be_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server replaces the worker: the next caller must not get the rest of the answer."""
    model = start(worker.main)
    model.spawn.gate.clear()

    def fail(raw: bytes) -> object:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(process, "answer_of", fail)
        with pytest.raises(WorkerLost):
            model.answers()
    with pytest.raises(NoWorker):
        model.answers()
    model.wait_for(lambda: "could not be read: MemoryError;" in model.engine.failure)
    model.spawn.gate.set()
    model.wait_for_start(2)
    assert model.answers()
