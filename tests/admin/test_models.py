"""Loading and unloading models, the default model, and the operator's view of them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from classwire import Client, UnknownModelError
from classwire._calls.status import from_rpc_error
from classwire.admin.v1 import admin_pb2 as pb
from classwire_server.admin.changes import Changes
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import OverBudget
from classwire_server.server import Server
from tests.admin.operator import Operator, refusal
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually

Operate = Callable[[Server], Operator]
Fake = Callable[..., Server]
TEXT = "I really love this book"
SERVING = health_pb2.HealthCheckResponse.SERVING


def _health(channel: grpc.Channel) -> Callable[[str], int]:
    stub: Any = health_pb2_grpc.HealthStub(channel)

    def of(service: str) -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        status: int = next(iter(stub.Watch(request, timeout=PATIENCE_S))).status
        return status

    return of


def test_load_and_unload(
    server: Server, operator: Operator, blue: Path, connect: Callable[[str], grpc.Channel]
) -> None:
    """A loaded model is in lists and in health, and serves calls. An unloaded one is in neither.
    Calls without a model name go to the default model throughout.
    """
    health = _health(connect(server.target))
    with Client(server.target, retry=False) as client:
        model = operator.load("blue", blue)
        assert (model.name, list(model.labels)) == ("blue", ["blue", "not blue"])
        assert client.classify(TEXT, model="blue").model.fingerprint == model.fingerprint
        assert client.classify(TEXT).model.name == "m"
        assert [each.name for each in client.models()] == ["m", "blue"]
        assert health("classwire.model.blue") == health("") == SERVING

        operator.unload("blue")
        with pytest.raises(UnknownModelError):
            client.classify(TEXT, model="blue")
        assert [each.name for each in client.models()] == ["m"]
        assert health("classwire.model.blue") == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert health("") == SERVING


def test_the_default_model_changes(fake: Fake, operate: Operate, blue: Path) -> None:
    """The new default serves calls without a model name. Unloading the default needs a new one."""
    server = fake(FakeEngine((0, 1)), FakeEngine((0, 1)))
    operator = operate(server)
    operator.load("", f"blue={blue}")
    with Client(server.target, retry=False) as client:
        operator.default("blue")
        assert client.classify(TEXT).model.name == "blue"
        assert [(each.name, each.is_default) for each in client.models()] == [
            ("blue", True),
            ("m", False),
        ]
        for new_default in ("", "blue"):
            with pytest.raises(grpc.RpcError) as refused:
                operator.unload("blue", new_default)
            assert refusal(refused.value)[:2] == ("FAILED_PRECONDITION", "IS_DEFAULT")
            assert from_rpc_error(refused.value).field == "new_default"
        operator.unload("blue", "m")
        assert client.classify(TEXT).model.name == "m"
        assert [each.name for each in client.models()] == ["m"]


@pytest.mark.parametrize(
    ("ask", "code", "reason"),
    [
        (lambda it, red: it.load("m", red), "ALREADY_EXISTS", "MODEL_EXISTS"),
        (lambda it, red: it.load("M!", red), "INVALID_ARGUMENT", "BAD_OPTION"),
        (lambda it, red: it.load("a=b", red), "INVALID_ARGUMENT", "BAD_OPTION"),
        (lambda it, red: it.load("x", ""), "INVALID_ARGUMENT", "BAD_OPTION"),
        (lambda it, red: it.load("x", "/no/such/folder"), "FAILED_PRECONDITION", "BAD_CHECKPOINT"),
        (lambda it, red: it.load("x", "~nosuch/x"), "FAILED_PRECONDITION", "BAD_CHECKPOINT"),
        (lambda it, red: it.load("x", f"/{'x' * 300}"), "FAILED_PRECONDITION", "BAD_CHECKPOINT"),
        (lambda it, red: it.load("x", f"/{'x' * 1_024}"), "INVALID_ARGUMENT", "BAD_OPTION"),
        (lambda it, red: it.reload("x", red), "NOT_FOUND", "UNKNOWN_MODEL"),
        (lambda it, red: it.unload("x"), "NOT_FOUND", "UNKNOWN_MODEL"),
        (lambda it, red: it.unload(""), "INVALID_ARGUMENT", "BAD_OPTION"),
        (lambda it, red: it.unload("m", "x"), "NOT_FOUND", "UNKNOWN_MODEL"),
        (lambda it, red: it.default("x"), "NOT_FOUND", "UNKNOWN_MODEL"),
        (lambda it, red: it.default(""), "INVALID_ARGUMENT", "BAD_OPTION"),
    ],
)
def test_impossible_changes(
    operator: Operator, red: Path, ask: Callable[[Operator, Path], Any], code: str, reason: str
) -> None:
    """The server rejects each with its reason, and changes nothing."""
    before = operator.status()
    with pytest.raises(grpc.RpcError) as refused:
        ask(operator, red)
    assert refusal(refused.value)[:2] == (code, reason)
    assert operator.status().models == before.models


def test_one_model_changes_at_a_time(
    serve: Callable[..., Server], operate: Operate, red: Path, blue: Path
) -> None:
    """The server rejects a second change, and names the model of the first. It serves throughout.
    The first change goes on if its caller disconnects.
    """
    gate, held = threading.Event(), threading.Event()

    def launch(source: Any, config: ServerConfig, on_change: Any) -> Any:
        if source.name == "slow":
            held.set()
            assert gate.wait(PATIENCE_S)
        return FakeEngine((0, 1)).launch(source, config, on_change)

    server = serve(launch, model=(f"m={red}",), admin_port=0)
    operator = operate(server)
    changing = operator.begin_load("slow", blue)
    assert next(changing).stage == pb.CHANGE_STAGE_LOADING
    assert held.wait(PATIENCE_S)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: operator.reload("m"),
        lambda: operator.load("x", blue),
        lambda: operator.unload("m", "m"),
        lambda: operator.default("m"),
    )
    for change in changes:
        with pytest.raises(grpc.RpcError) as refused:
            change()
        assert refusal(refused.value)[:2] == ("ABORTED", "CHANGE_IN_PROGRESS")
        assert refusal(refused.value)[3] == {"model": "slow"}
    status = operator.status()
    assert (status.change.model, status.change.stage) == ("slow", pb.CHANGE_STAGE_LOADING)
    with Client(server.target, retry=False) as client:
        assert client.health() == "SERVING"
        with pytest.raises(UnknownModelError):
            client.classify(TEXT, model="slow")
        changing.cancel()
        gate.set()
        assert eventually(lambda: not operator.status().HasField("change"))
        assert client.classify(TEXT, model="slow").model.name == "slow"


def test_a_reload_uses_the_latest_source(
    fake: Fake, operate: Operate, blue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload takes the model's source as it is when no other change is in progress any more."""
    server = fake(FakeEngine((0, 1)), FakeEngine((0, 1)))
    reload = Changes.reload

    def overtaken(changes: Changes, *arguments: Any) -> None:
        server.registry.put(ModelSource("m", str(blue)), server.registry.served("m", ""))
        reload(changes, *arguments)

    monkeypatch.setattr(Changes, "reload", overtaken)
    operate(server).reload("m")
    assert server.registry.entry("m", "").source.location == str(blue)


def test_a_model_over_the_memory_budget_is_rejected(
    operator: Operator, serve: Callable[..., Server], operate: Operate, red: Path, blue: Path
) -> None:
    """The error names the numbers, and the new process is gone. While a model is replaced, old and
    new one count. A budget that holds both is enough.
    """
    needs_mb = -(-operator.status().models[0].memory_bytes // 1_000_000)
    assert needs_mb > 10  # more than weights alone
    budget_mb = round(1.5 * needs_mb)
    settings = {"model": (f"m={red}",), "admin_port": 0, "batch_tokens": 512}
    server = serve(**settings, memory_budget_mb=budget_mb)
    limited = operate(server)
    in_use_mb = -(-limited.status().models[0].memory_bytes // 1_000_000)
    (worker,) = server.registry.served("m", "").engine.workers
    asks: tuple[Callable[[], Any], ...] = (
        lambda: limited.load("blue", blue),
        lambda: limited.reload("m", blue),
    )
    for ask in asks:
        with pytest.raises(grpc.RpcError) as rejected:
            ask()
        code, reason, message, metadata = refusal(rejected.value)
        assert (code, reason) == ("FAILED_PRECONDITION", "OVER_MEMORY_BUDGET")
        assert metadata["in_use_mb"] == str(in_use_mb)
        assert metadata["budget_mb"] == str(budget_mb)
        assert all(metadata[name] in message for name in ("needs_mb", "in_use_mb", "budget_mb"))
    assert server.registry.served("m", "").engine.workers == (worker,)
    operate(serve(**settings, memory_budget_mb=3 * needs_mb)).load("blue", blue)


def test_a_budget_holds_at_start(tmp_path: Path) -> None:
    """The server does not start if its models exceed the budget. It does not read such weights."""

    def launch(*how: Any) -> Any:
        raise AssertionError("a process was started")

    big = tmp_path / "big"
    big.mkdir()
    (big / "config.json").touch()
    with open(big / "model.safetensors", "wb") as file:
        file.truncate(3_000_000)
    config = ServerConfig(port=0, model=(f"m={big}",), memory_budget_mb=2)
    with pytest.raises(OverBudget, match="needs 3 MB, and 0 of 2 MB are in use"):
        Server(config, launch).start()


def test_a_shutdown_during_a_load(
    serve: Callable[..., Server], operate: Operate, red: Path, blue: Path
) -> None:
    """The load fails with DRAINING at once, and the model is never used."""
    gate, engine = threading.Event(), FakeEngine((0, 1))

    def launch(source: Any, config: ServerConfig, on_change: Any) -> Any:
        if source.name == "slow":
            assert gate.wait(PATIENCE_S)
            return engine.launch(source, config, on_change)
        return FakeEngine((0, 1)).launch(source, config, on_change)

    server = serve(launch, model=(f"m={red}",), admin_port=0)
    operator = operate(server)
    loading = operator.begin_load("slow", blue)
    assert next(loading).stage == pb.CHANGE_STAGE_LOADING
    operator.drain()
    with pytest.raises(grpc.RpcError) as refused:
        next(loading)
    assert refusal(refused.value)[:2] == ("UNAVAILABLE", "DRAINING")
    gate.set()
    assert eventually(lambda: engine.closed)


def test_drain(fake: Fake, operate: Operate) -> None:
    """The server answers calls in flight, and rejects all other calls and changes."""
    engine = FakeEngine((0, 1))
    server = fake(engine)
    operator = operate(server)
    with Client(server.target, retry=False) as client, ThreadPoolExecutor(1) as callers:
        slow = callers.submit(client.classify, "slow")
        engine.wait_for(lambda engine: engine.texts == ["slow"])
        begun = operator.drain()
        assert (begun.calls_in_flight, begun.timeout.seconds) == (1, 30)
        assert eventually(lambda: operator.status().state == pb.SERVER_STATE_DRAINING)
        with pytest.raises(grpc.RpcError) as refused:
            operator.reload("m")
        assert refusal(refused.value)[:2] == ("UNAVAILABLE", "DRAINING")
        engine.release()
        assert slow.result(PATIENCE_S).scores
    assert eventually(lambda: engine.closed)
