"""The worker process: its start, its end, and its lanes."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.instrument import descendants
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Terms, cores
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.forking import ForkedWorker
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.errors import CheckpointError, StartError, TooLate
from classwire_server.server import Server
from classwire_server.tokenization import Encoding, Text, Truncation
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import (
    LONG,
    classify,
    encodings,
    is_gone,
    stop,
)
from tests.engine.worker.supervised import Start
from tests.workers import fork

Serve = Callable[..., Server]

SERVER = """
import sys
from classwire import Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server

if __name__ == "__main__":
    with Server(ServerConfig(port=0, model=(sys.argv[1],), device="cpu")) as server:
        with Client(server.target) as client:
            print(client.classify("I really love this book").label)
        print(*server.registry.served("", "model").engine.pids)
        print({"torch", "transformers", "cryptography"} & set(sys.modules), flush=True)
        sys.stdin.readline()
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("is_hung", "has_lost_its_forks"), [(False, False), (True, False), (False, True)]
)
def test_a_server_and_its_worker(bert: str, is_hung: bool, has_lost_its_forks: bool) -> None:
    """The server's process imports no torch, and no cryptography without TLS. When it is killed,
    its worker ends too. The fork server ends with it, and ends a worker that hangs. A worker that
    has lost its fork server ends by itself, unless it hangs.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, bert],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        label, pid, modules = (server.stdout.readline().strip() for _ in range(3))
        assert "star" in label
        assert modules == "set()"
        below = descendants(server.pid)
        assert int(pid) in below
        if is_hung:
            stop(int(pid))
        if has_lost_its_forks:
            os.kill(below[0], signal.SIGKILL)
        server.kill()
        assert eventually(lambda: all(is_gone(process) for process in below))


def test_a_worker_ignores_signals_for_its_server(serve: Serve, bert: str, connect: Any) -> None:
    """A worker that gets SIGINT or SIGTERM with its process group goes on until the server ends."""
    server = serve(model=(bert,))
    engine = server.registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    for pid in engine.pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert classify(connect(server.target), "good").result.scores


def test_a_worker_of_its_own_interpreter(bert: str, caplog: pytest.LogCaptureFixture) -> None:
    """A worker started as in production answers batches, and the server logs its lines."""
    config = ServerConfig(model=(bert,), lanes=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda: None)
    try:
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        assert launched.engine.infer(texts).values.shape == (len(texts), 5)
        unknown = Encoding([1 << 30], [0], 0, Text(""), None)
        with pytest.raises(RuntimeError, match="IndexError"):
            launched.engine.infer([unknown])
        line = ("classwire_server.engine.worker.main", logging.WARNING)
        assert eventually(lambda: line in {(r.name, r.levelno) for r in caplog.records})
    finally:
        launched.engine.close()


def test_a_worker_leaves_its_core_to_its_server(serve: Serve, bert: str) -> None:
    """Where both share one, calls are refused and answered while a batch is computed."""
    engine = serve(model=(bert,)).registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    (pid,) = engine.pids
    levels = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # the thread that hashes files may end meanwhile
            levels.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    nicer = min(19, own + worker.NICENESS)
    assert min(levels) == nicer
    assert levels <= {nicer, 19}  # the thread that hashes files has the lowest priority


def test_a_batch_that_waits_for_too_long(start: Start) -> None:
    """The worker does not start a batch after its begin_by_s, urgent or not, and runs the next."""
    model = start(worker.main)
    (pid,) = model.engine.pids
    for urgent in (False, True):
        model.hang()
        terms = Terms(urgent, begin_by_s=time.monotonic() + PATIENCE_S / 100)
        with ThreadPoolExecutor() as callers:
            waiting = callers.submit(model.engine.infer, [model.short], terms)
            time.sleep(max(0.0, terms.begin_by_s - time.monotonic()))
            os.kill(pid, signal.SIGCONT)
            assert isinstance(waiting.exception(PATIENCE_S), TooLate)
        in_time = Terms(urgent, begin_by_s=time.monotonic() + PATIENCE_S)
        assert model.engine.infer([model.short], in_time).values.shape == (1, 5)


def test_a_worker_that_dies_while_it_loads(bert: str) -> None:
    """The server does not start, and its error says how the process ended."""
    server = Server(
        ServerConfig(port=0, model=(bert,)),
        functools.partial(launch, spawn=faults.spawn_with(faults.dies_at_once)),
    )
    with pytest.raises(StartError, match=r"its process was killed by SIGKILL$"):
        server.start()


def test_a_rejected_checkpoint_leaves_no_process(tmp_path: Path) -> None:
    """The workers reject the checkpoint with an error, and have ended by then."""
    (tmp_path / "config.json").write_text("{")
    workers: list[ForkedWorker] = []

    def spawn(*links: Any) -> ForkedWorker:
        workers.append(fork(*links))
        return workers[-1]

    server = Server(
        ServerConfig(port=0, model=(f"broken={tmp_path}",), device="cpu,cpu"),
        functools.partial(launch, spawn=spawn),
    )
    with pytest.raises(CheckpointError, match=r"config\.json is not JSON"):
        server.start()
    assert len(workers) == 2
    assert all(worker.wait(0) is not None for worker in workers)


def test_lanes_and_threads(serve: Serve, bert: str, caplog: pytest.LogCaptureFixture) -> None:
    """By default the cores decide the number of lanes; --lanes and --threads override it."""
    caplog.set_level(logging.INFO, "classwire_server")
    server = serve(model=(bert,), lanes=3, threads=2)
    assert server.registry.served("", "model").engine.lanes == 3
    assert any("3 lanes" in message for message in caplog.messages)
    division = cores.divide(cores.usable_cores(), 0, 0)
    assert serve(model=(bert,)).registry.served("", "model").engine.lanes == division.lanes


def test_lanes_compute_at_the_same_time(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]
) -> None:
    """Two lanes compute two texts, neither of which can be computed without the other."""
    server = serve(
        functools.partial(launch, spawn=faults.spawn_with(faults.meets_on_long_texts)),
        model=(bert,),
        lanes=2,
        batch_tokens=64,
    )
    channel = connect(server.target)
    with ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(lambda text: classify(channel, text), [LONG, f"{LONG} book"]))
    assert all(answer.result.scores for answer in answers)


def test_a_batch_ahead_waits_for_a_lane(bert: str) -> None:
    """A worker accepts one batch more than it has lanes, and computes only as many at once."""
    config = ServerConfig(model=(bert,), lanes=1, threads=1, batch_tokens=512)
    spawn = faults.spawn_with(faults.fails_on_two_at_once)
    launched = launch(config.sources[0], config, lambda: None, spawn)
    try:
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        with ThreadPoolExecutor(2) as callers:
            answers = list(callers.map(lambda _: launched.engine.infer(texts[:1]), range(8)))
        assert all(answer.values.shape == (1, 5) for answer in answers)
    finally:
        launched.engine.close()


def test_lanes_compute_at_the_same_time_and_right(bert: str) -> None:
    """Each of the threads that share the lanes gets the logits of its own texts."""
    config = ServerConfig(model=(bert,), lanes=2, threads=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda: None, fork)
    try:
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        alone = [launched.engine.infer([encoding]).values[0] for encoding in texts]
        turns = [
            [(start + step) % len(texts) for step in range(1 + start % 4)] for start in range(60)
        ]
        with ThreadPoolExecutor(3) as threads:
            answers = threads.map(
                lambda turn: launched.engine.infer([texts[i] for i in turn]).values, turns
            )
        for turn, values in zip(turns, answers, strict=True):
            for index, row in zip(turn, values, strict=True):
                assert abs(row - alone[index]).max() <= 1e-5
    finally:
        launched.engine.close()


def test_urgent_batches_wait_for_no_lane(start: Start) -> None:
    """An urgent batch runs while the only lane is busy, with a batch that ends only with it."""
    model = start(faults.meets_on_long_texts)

    with ThreadPoolExecutor(1) as bulk:
        held = bulk.submit(model.engine.infer, [model.long])
        urgent = model.engine.infer([model.long], Terms(urgent=True))

    assert abs(held.result().values - urgent.values).max() <= 1e-5


def test_yielding_batches_pause_for_urgent_batches(start: Start) -> None:
    """A pass that yields pauses between two operators, and then continues with the same answer."""
    model = start(faults.urgent_needs_a_paused_pass)

    with ThreadPoolExecutor(1) as callers:
        urgent = callers.submit(model.engine.infer, [model.short], Terms(urgent=True))
        while not urgent.done():
            paused = model.engine.infer([model.short], Terms(yields=True))

    assert abs(paused.values - urgent.result().values).max() <= 1e-5
