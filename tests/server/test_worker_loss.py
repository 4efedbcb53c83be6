"""What becomes of callers when the process that holds a model fails or ends."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server import dispatch
from classwire_server.config import ServerConfig
from classwire_server.engine import process
from classwire_server.engine.workers import WorkerEngine, launch
from classwire_server.errors import RequestError
from classwire_server.lifecycle import Server
from classwire_server.tokenization import Truncation
from tests import faults
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import item_failure, refusal
from tests.parity.direct import Direct, largest_difference
from tests.parity.wire import in_a_batch, scores_by_id
from tests.server.callers import LONG, WORKER_LOST, classify, encodings, health, is_gone
from tests.workers import ForkedWorker

Serve = Callable[..., Server]


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
    assert eventually(lambda: health(channel) == HealthCheckResponse.NOT_SERVING)
    assert health(channel, "classwire.liveness") == HealthCheckResponse.SERVING
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
    assert eventually(lambda: health(channel) == HealthCheckResponse.NOT_SERVING)
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
    texts = encodings(server._registry.served("", "model").tokenization)
    with ThreadPoolExecutor(1) as another:
        os.kill(first, signal.SIGSTOP)
        stuck = another.submit(engine.infer, texts)  # the first of equals is taken
        assert eventually(lambda: sum(engine._in_flight.values()) == 1)
        for _ in range(3):
            assert engine.infer(texts).values.shape == (len(texts), 5)
        os.kill(first, signal.SIGCONT)
        assert stuck.result(PATIENCE_S).values.shape == (len(texts), 5)
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: engine._workers[0].lost)
    for _ in range(3):
        assert classify(channel, "good").result.scores
    assert health(channel) == HealthCheckResponse.SERVING
    os.kill(second, signal.SIGKILL)
    assert eventually(lambda: health(channel) == HealthCheckResponse.NOT_SERVING)
    assert refusal(lambda: classify(channel, "good")) == WORKER_LOST


def test_a_worker_that_hangs_does_not_keep_the_server(
    serve: Serve,
    bert: str,
    connect: Callable[[str], grpc.Channel],
    monkeypatch: pytest.MonkeyPatch,
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


def test_a_lane_that_fails(
    serve_with: Callable[[faults.Main], Server],
    connect: Callable[[str], grpc.Channel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A lane never dies alone, which would leave its caller waiting: its process ends with it."""
    channel = connect(serve_with(faults.breaks_its_lane_on_long_texts).target)
    assert refusal(lambda: classify(channel, LONG)) == WORKER_LOST
    assert "a lane failed: MemoryError; ending its process" in caplog.messages


def test_an_answer_that_cannot_be_read(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is not used again, or the next caller would get what is left of it."""
    config = ServerConfig(model=(bert,), lanes=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda why: None, ForkedWorker)
    try:
        texts = encodings(launched.checkpoint.tokenization(Truncation.REJECT))

        def fail(connection: object) -> object:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(process, "receive", fail)
            with pytest.raises(MemoryError):
                launched.engine.infer(texts)
        with pytest.raises(RequestError, match="process ended"):
            launched.engine.infer(texts)
    finally:
        launched.engine.close()


def test_a_worker_lost_while_another_loads(
    serve: Serve,
    bert: str,
    checkpoint: Callable[..., Path],
    connect: Callable[[str], grpc.Channel],
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
    assert health(channel) == HealthCheckResponse.NOT_SERVING
    models = ModelServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    assert [model.state for model in models] == [pb.MODEL_STATE_FAILED, pb.MODEL_STATE_READY]
