"""Errors, health and state that callers see when a worker process fails or ends."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.scheduling import dispatcher as dispatch
from classwire_server.server import Server
from tests import faults
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import Failure, item_failure, refusal
from tests.engine.worker.callers import LONG, WORKER_LOST, classify, health, is_gone, stop
from tests.parity.direct import Direct, largest_difference
from tests.parity.wire import in_a_batch, scores_by_id
from tests.workers import Main

Serve = Callable[..., Server]

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
POISON_INPUT = Failure(grpc.StatusCode.INTERNAL, "POISON_INPUT")


def test_health_and_state(serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]) -> None:
    """Without a worker the server is alive and not ready, and the model's state gives the reason.
    Once a worker is back, everything is as before.
    """
    spawn = faults.Succession(worker.main)
    server = serve(functools.partial(launch, spawn=spawn), model=(bert,), batch_tokens=512)
    channel = connect(server.target)
    stub: Any = HealthStub(channel)
    services = ["", "classwire.v1.ClassifyService", "classwire.model.bert"]
    watching = [stub.Watch(HealthCheckRequest(service=name), timeout=60) for name in services]
    assert [next(watcher).status for watcher in watching] == [SERVING] * 3
    engine = server.registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    spawn.gate.clear()

    def described() -> tuple[int, str]:
        model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model
        assert model.fingerprint
        return model.state, model.failure

    os.kill(engine.pids[0], signal.SIGKILL)

    assert [next(watcher).status for watcher in watching] == [NOT_SERVING] * 3
    assert health(channel, "classwire.liveness") == SERVING
    assert refusal(lambda: classify(channel, "good")) == WORKER_LOST
    why = "its process was killed by SIGKILL; another is being started"
    assert eventually(lambda: described() == (pb.MODEL_STATE_FAILED, why))

    spawn.gate.set()

    assert [next(watcher).status for watcher in watching] == [SERVING] * 3
    assert described() == (pb.MODEL_STATE_READY, "")
    assert classify(channel, "good").result.scores
    for watcher in watching:
        watcher.cancel()


def test_a_text_that_kills(
    serve_with: Callable[[Main], Server],
    connect: Callable[[str], grpc.Channel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server rejects a text that broke the device twice alone, and answers other texts."""
    server = serve_with(faults.loses_its_device_on_long_texts)
    channel = connect(server.target)

    assert refusal(lambda: classify(channel, LONG)) == POISON_INPUT

    assert eventually(lambda: server.registry.served("", "model").engine.is_up)
    assert refusal(lambda: classify(channel, LONG)) == POISON_INPUT
    assert classify(channel, "good").result.scores
    lost = "the device cpu is lost; ending its process"
    assert [message for message in caplog.messages if message == lost] == [lost] * 2


def test_a_text_that_was_innocent(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]
) -> None:
    """Workers that end from outside, first with a text among others and then with the text alone,
    do not convict it: the third worker answers it.
    """
    spawn = faults.Succession(
        faults.dies_on_long_texts_among_others, faults.dies_on_long_texts, worker.main
    )
    server = serve(functools.partial(launch, spawn=spawn), model=(bert,), batch_tokens=2_048)
    channel = connect(server.target)
    request = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in ("good", LONG)])
    response = ClassifyServiceStub(channel).BatchClassify(request, timeout=PATIENCE_S)
    assert all(outcome.classification.scores for outcome in response.outcomes)
    assert len(spawn.workers) in (1, 3)  # 1 if the dispatcher ran the texts in two batches


def test_a_conviction_expires(
    serve: Serve, bert: str, connect: Callable[[str], grpc.Channel]
) -> None:
    """After --poison-expiry-s the text runs once more, and a worker that survives acquits it."""
    spawn = faults.Succession(faults.dies_on_long_texts, faults.dies_on_long_texts, worker.main)
    server = serve(functools.partial(launch, spawn=spawn), model=(bert,), poison_expiry_s=1)
    channel = connect(server.target)
    assert refusal(lambda: classify(channel, LONG)) == POISON_INPUT
    dispatcher = server.registry.served("", "model").dispatcher
    assert eventually(lambda: dispatcher.poison_inputs().count == 0)
    assert eventually(lambda: server.registry.served("", "model").engine.is_up)
    assert classify(channel, LONG).result.scores
    assert len(spawn.workers) == 3


def test_out_of_memory(
    serve_with: Callable[[Main], Server],
    connect: Callable[[str], grpc.Channel],
    checkpoint: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The worker halves a batch for which memory runs out; a text that never fits fails alone."""
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


def test_a_worker_that_hangs_does_not_keep_the_server(
    serve: Serve,
    bert: str,
    connect: Callable[[str], grpc.Channel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server whose worker hangs can still stop, and ends the worker."""
    monkeypatch.setattr(dispatch, "CLOSE_PATIENCE_S", 0.1)
    server = serve(model=(bert,))
    engine = server.registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    (pid,) = engine.pids
    stop(pid)
    call = ClassifyServiceStub(connect(server.target)).Classify.future(
        pb.ClassifyRequest(input=pb.TextInput(text="good")), timeout=PATIENCE_S
    )
    assert eventually(lambda: sum(engine.in_flight) == 1)
    server.stop(drain_timeout_s=0)
    assert is_gone(pid)
    assert call.exception(PATIENCE_S) is not None


def test_a_worker_lost_while_another_model_loads(
    serve: Serve,
    bert: str,
    checkpoint: Callable[..., Path],
    connect: Callable[[str], grpc.Channel],
) -> None:
    """A server is not ready while the worker of one model is lost and another model loads."""
    engines: list[FakeEngine] = []

    def start(*arguments: Any) -> Any:
        for earlier in engines:
            earlier.lose()
        engines.append(FakeEngine())
        return engines[-1].launch(*arguments)

    server = serve(start, model=(bert, f"other={checkpoint('bert')}"))
    channel = connect(server.target)
    assert health(channel) == NOT_SERVING
    assert health(channel, "classwire.model.bert") == NOT_SERVING
    assert health(channel, "classwire.model.other") == SERVING
    models = ModelServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    assert [model.state for model in models] == [pb.MODEL_STATE_FAILED, pb.MODEL_STATE_READY]
    engines[0].come_back()
    assert health(channel) == SERVING
