"""The process that holds a model: what it answers, and what becomes of callers when it ends."""

import functools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server import dispatch
from classwire_server.config import ServerConfig
from classwire_server.engine import cores, process
from classwire_server.engine.workers import WorkerEngine, launch
from classwire_server.errors import CheckpointError, RequestError, StartError
from classwire_server.lifecycle import Server
from classwire_server.tokenization import Encoding, Text, Truncation
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import Failure, item_failure, refusal
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import in_a_batch, scores_by_id
from tests.workers import ForkedWorker

Serve = Callable[..., Server]
LONG = "book " * 400

WORKER_LOST = Failure(grpc.StatusCode.UNAVAILABLE, "WORKER_LOST")
INTERNAL = Failure(grpc.StatusCode.INTERNAL, "INTERNAL")


@pytest.fixture
def bert(checkpoint: Callable[..., Path]) -> str:
    """A tiny BERT, as a setting."""
    return f"bert={checkpoint('bert')}"


@pytest.fixture
def serve_with(serve: Serve, bert: str) -> Callable[[faults.Main], Server]:
    """Starts a server whose worker has a fault."""
    return lambda fault: serve(
        functools.partial(launch, spawn=faults.spawn_with(fault)), model=(bert,), batch_tokens=512
    )


def classify(channel: grpc.Channel, text: str) -> pb.ClassifyResponse:
    """One call with a deadline of its own."""
    request = pb.ClassifyRequest(input=pb.TextInput(text=text))
    response: pb.ClassifyResponse = ClassifyServiceStub(channel).Classify(
        request, timeout=PATIENCE_S
    )
    return response


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


SERVER = """
import sys
from classwire import Client
from classwire_server.config import ServerConfig
from classwire_server.lifecycle import Server

if __name__ == "__main__":
    with Server(ServerConfig(port=0, model=(sys.argv[1],), device="cpu")) as server:
        with Client(server.target) as client:
            print(client.classify("I really love this book").label)
        print(*server._registry.served("", "model").engine.pids)
        print({"torch", "transformers"} & set(sys.modules), flush=True)
        sys.stdin.readline()
"""


def test_a_server_and_its_worker(bert: str) -> None:
    """The server's own process imports no torch; when it is killed, its worker ends by itself."""
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
        assert not is_gone(int(pid))
        server.kill()
        assert eventually(lambda: is_gone(int(pid)))


def test_signals_are_the_servers_business(serve: Serve, bert: str, connect: Any) -> None:
    """A worker that gets Ctrl-C or SIGTERM, as its whole group does, goes on until it is told."""
    server = serve(model=(bert,))
    engine = server._registry.served("", "model").engine
    assert isinstance(engine, WorkerEngine)
    for pid in engine.pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert classify(connect(server.target), "good").result.scores


def test_a_killed_worker(
    serve_with: Callable[[faults.Main], Server],
    connect: Callable[[str], grpc.Channel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calls end with WORKER_LOST, at once; health, the model's state and the log say so."""
    server = serve_with(faults.dies_on_long_texts)
    channel = connect(server.target)
    assert classify(channel, "good").result.scores
    assert refusal(lambda: classify(channel, LONG)) == WORKER_LOST
    assert refusal(lambda: classify(channel, "good")) == WORKER_LOST
    assert eventually(lambda: _health(channel) == HealthCheckResponse.NOT_SERVING)
    assert _health(channel, "classwire.liveness") == HealthCheckResponse.SERVING
    model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model
    assert model.state == pb.MODEL_STATE_FAILED
    assert model.failure == "its process ended with exit code -9"
    assert "bert: its process ended with exit code -9" in caplog.messages


def test_a_lost_device(
    serve_with: Callable[[faults.Main], Server],
    connect: Callable[[str], grpc.Channel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A device that computes no more ends its worker: NOT_SERVING, a clear log, and no hang."""
    channel = connect(serve_with(faults.loses_its_device_on_long_texts).target)
    assert refusal(lambda: classify(channel, LONG)) == WORKER_LOST
    assert eventually(lambda: _health(channel) == HealthCheckResponse.NOT_SERVING)
    assert "the device cpu is lost; ending its process" in caplog.messages
    assert "bert: its process ended with exit code 70" in caplog.messages


def test_out_of_memory(
    serve_with: Callable[[faults.Main], Server],
    connect: Callable[[str], grpc.Channel],
    checkpoint: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A batch for which there is no memory is halved; a text that never fits fails alone."""
    channel = connect(serve_with(faults.has_room_for_three_texts).target)
    texts = ["good", "bad", "a good book", "it was cold", "rude", "the staff", "fine", "no work"]
    direct = Direct.load(checkpoint("bert"))
    answers = in_a_batch(channel, texts, "")
    expected = [direct.scores(text) for text in texts]
    assert largest_difference([scores_by_id(answer) for answer in answers], expected) <= 1e-5
    assert "out of memory on 8 texts; halving the batch" in caplog.messages
    request = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in ("good", LONG)])
    good, long = ClassifyServiceStub(channel).BatchClassify(request, timeout=PATIENCE_S).outcomes
    assert good.classification.scores
    assert item_failure(long).reason == "INTERNAL"
    assert classify(channel, "good").result.scores


def test_a_worker_that_dies_while_it_loads(bert: str) -> None:
    """The server does not start, and says how the process ended."""
    server = Server(
        ServerConfig(port=0, model=(bert,)),
        functools.partial(launch, spawn=faults.spawn_with(faults.dies_at_once)),
    )
    with pytest.raises(StartError, match=r"its process ended with exit code -9$"):
        server.start()


def test_a_refused_checkpoint_leaves_no_process(tmp_path: Path) -> None:
    """What a worker refuses is said in one line, and the worker is gone by then."""
    workers: list[ForkedWorker] = []

    def spawn(*links: Any) -> ForkedWorker:
        workers.append(ForkedWorker(*links))
        return workers[-1]

    server = Server(
        ServerConfig(port=0, model=(f"empty={tmp_path}",), device="cpu,cpu"),
        functools.partial(launch, spawn=spawn),
    )
    with pytest.raises(CheckpointError, match=r"config\.json"):
        server.start()
    assert len(workers) == 2
    assert all(worker.wait(0) is not None for worker in workers)


def test_several_devices_share_the_work(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]
) -> None:
    """Each device has a worker; the one with less to do gets the next batch; when one is lost the
    others go on, and the server is ready until the last is.
    """
    server = serve(model=(bert,), device="cpu,cpu", lanes=1, batch_tokens=512)
    channel = connect(server.target)
    engine = server._registry.served("", "model").engine
    assert isinstance(engine, WorkerEngine)
    assert engine.lanes == 2
    first, second = engine.pids
    encodings = _encodings(server._registry.served("", "model").tokenization)
    with ThreadPoolExecutor(1) as another:
        os.kill(first, signal.SIGSTOP)
        stuck = another.submit(engine.infer, encodings)  # the first of equals is taken
        assert eventually(lambda: sum(engine._in_flight.values()) == 1)
        for _ in range(3):
            assert engine.infer(encodings).values.shape == (len(encodings), 5)
        os.kill(first, signal.SIGCONT)
        assert stuck.result(PATIENCE_S).values.shape == (len(encodings), 5)
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: engine._workers[0].lost)
    for _ in range(3):
        assert classify(channel, "good").result.scores
    assert _health(channel) == HealthCheckResponse.SERVING
    os.kill(second, signal.SIGKILL)
    assert eventually(lambda: _health(channel) == HealthCheckResponse.NOT_SERVING)
    assert refusal(lambda: classify(channel, "good")) == WORKER_LOST


def test_a_worker_that_hangs_does_not_keep_the_server(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose worker computes for ever stops all the same, and ends it."""
    monkeypatch.setattr(dispatch, "CLOSE_PATIENCE_S", 0.1)
    monkeypatch.setattr(process, "END_TIMEOUT_S", 0.1)
    server = serve(model=(bert,))
    engine = server._registry.served("", "model").engine
    assert isinstance(engine, WorkerEngine)
    (pid,) = engine.pids
    os.kill(pid, signal.SIGSTOP)
    call = ClassifyServiceStub(connect(server.target)).Classify.future(
        pb.ClassifyRequest(input=pb.TextInput(text="good")), timeout=PATIENCE_S
    )
    assert eventually(lambda: sum(engine._in_flight.values()) == 1)
    server.stop(drain_timeout_s=0)
    assert is_gone(pid)
    assert call.exception(PATIENCE_S) is not None


def test_lanes_and_threads(serve: Serve, bert: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without settings there is a lane for each core that may be used; --lanes and --threads
    override.
    """
    caplog.set_level(logging.INFO, "classwire_server")
    server = serve(model=(bert,), lanes=3, threads=2)
    assert server._registry.served("", "model").engine.lanes == 3
    assert any("3 lanes" in message for message in caplog.messages)
    division = cores.divide(cores.usable_cores(), 0, 0)
    assert serve(model=(bert,))._registry.served("", "model").engine.lanes == division.lanes


def test_lanes_compute_at_the_same_time(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]
) -> None:
    """Two texts that are computed only together are computed by two lanes."""
    server = serve(
        functools.partial(launch, spawn=faults.spawn_with(faults.meets_on_long_texts)),
        model=(bert,),
        lanes=2,
        batch_tokens=64,
    )
    channel = connect(server.target)
    with ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(lambda _: classify(channel, LONG), range(2)))
    assert all(answer.result.scores for answer in answers)


def test_a_lane_that_fails(
    serve_with: Callable[[faults.Main], Server],
    connect: Callable[[str], grpc.Channel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A lane never dies alone, which would leave its caller waiting: its process ends with it."""
    channel = connect(serve_with(faults.breaks_its_lane_on_long_texts).target)
    assert refusal(lambda: classify(channel, LONG)) == WORKER_LOST
    assert "a lane failed: MemoryError; ending its process" in caplog.messages


def test_a_worker_of_its_own_interpreter(bert: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a server starts by itself answers batches, and its log lines are the server's."""
    config = ServerConfig(model=(bert,), lanes=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda why: None)
    try:
        encodings = _encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        assert launched.engine.infer(encodings).values.shape == (len(encodings), 5)
        unknown = Encoding([1 << 30], [0], 0, Text(""), None)
        with pytest.raises(RuntimeError, match="IndexError"):
            launched.engine.infer([unknown])
        line = ("classwire_server.engine.worker", logging.WARNING)
        assert eventually(lambda: line in {(r.name, r.levelno) for r in caplog.records})
    finally:
        launched.engine.close()


def test_an_answer_that_cannot_be_read(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is not used again, or the next caller would get what is left of it."""
    config = ServerConfig(model=(bert,), lanes=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda why: None, ForkedWorker)
    try:
        encodings = _encodings(launched.checkpoint.tokenization(Truncation.REJECT))

        def fail(connection: object) -> object:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(process, "receive", fail)
            with pytest.raises(MemoryError):
                launched.engine.infer(encodings)
        with pytest.raises(RequestError, match="process ended"):
            launched.engine.infer(encodings)
    finally:
        launched.engine.close()


def test_a_worker_lost_while_another_loads(
    serve: Serve, bert: str, checkpoint: Callable[..., Path], connect: Callable[[str], grpc.Channel]
) -> None:
    """A server that has lost a model before all were loaded never says that it serves."""
    told: list[Callable[[str], None]] = []

    def start(source: Any, config: Any, on_lost: Callable[[str], None]) -> Any:
        for tell in told:
            tell("ended with exit code -9")
        told.append(on_lost)
        return launch(source, config, on_lost, ForkedWorker)

    server = serve(start, model=(bert, f"other={checkpoint('bert')}"))
    channel = connect(server.target)
    assert _health(channel) == HealthCheckResponse.NOT_SERVING
    models = ModelServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    assert [model.state for model in models] == [pb.MODEL_STATE_FAILED, pb.MODEL_STATE_READY]


def test_lanes_compute_at_the_same_time_and_right(bert: str) -> None:
    """Many threads that share the lanes get each their own texts' logits."""
    config = ServerConfig(model=(bert,), lanes=2, threads=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda why: None, ForkedWorker)
    try:
        encodings = _encodings(launched.checkpoint.tokenization(Truncation.REJECT))
        alone = [launched.engine.infer([encoding]).values[0] for encoding in encodings]
        turns = [
            [(start + step) % len(encodings) for step in range(1 + start % 4)]
            for start in range(60)
        ]
        with ThreadPoolExecutor(3) as threads:
            answers = threads.map(
                lambda turn: launched.engine.infer([encodings[i] for i in turn]).values, turns
            )
        for turn, values in zip(turns, answers, strict=True):
            for index, row in zip(turn, values, strict=True):
                assert abs(row - alone[index]).max() <= 1e-5
    finally:
        launched.engine.close()


def _health(channel: grpc.Channel, service: str = "") -> int:
    stub: Any = HealthStub(channel)
    return int(stub.Check(HealthCheckRequest(service=service), timeout=PATIENCE_S).status)


def _encodings(tokenization: Any) -> Sequence[Encoding]:
    texts = [Text(text) if isinstance(text, str) else Text(*text) for text in TEXTS]
    return [tokenization.encode(text, Truncation.DROP_END, "") for text in texts]
