"""Tests for health and reflection, which share the port with calls."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server import registration
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Launched
from classwire_server.errors import StartError
from classwire_server.rpc import reflection
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import refusal
from tests.http2 import DATA, END_STREAM, HEADERS, RST_STREAM, Connection, Frame, messages, request

Connect = Callable[[str], grpc.Channel]

READINESS = (
    "",
    "classwire.v1.ClassifyService",
    "classwire.v1.ModelService",
    "inference.GRPCInferenceService",
    "classwire.model.tiny",
)
LIVENESS = "classwire.liveness"
ENHANCE_YOUR_CALM = 11
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def health(channel: grpc.Channel, service: str = "") -> int:
    """The health of a service."""
    request = HealthCheckRequest(service=service)
    stub: Any = HealthStub(channel)
    return int(stub.Check(request, timeout=PATIENCE_S).status)


@pytest.mark.parametrize("service", [*READINESS, LIVENESS])
def test_serving(channel: grpc.Channel, service: str) -> None:
    """After the warm-up the server, its services and its models are SERVING."""
    assert health(channel, service) == SERVING


@pytest.mark.parametrize("service", ["classwire.model.other", "classwire.v1.NoService"])
def test_unknown_services(channel: grpc.Channel, service: str) -> None:
    """A check of an unknown service or model gets NOT_FOUND."""
    with pytest.raises(grpc.RpcError) as caught:
        health(channel, service)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_ready_only_after_the_warm_up(bert: Path, connect: Connect) -> None:
    """The server is alive once it listens, ready once its model is loaded, not ready in a drain."""
    seen: list[dict[str, int]] = []

    def launch(source: ModelSource, config: ServerConfig, on_change: Any) -> Launched:
        seen.append(everything())
        return FakeEngine().launch(source, config, on_change)

    def everything() -> dict[str, int]:
        return {service: health(channel, service) for service in (*READINESS, LIVENESS)}

    server = Server(ServerConfig(port=0, model=(f"tiny={bert}",)), launch)
    server.listen()
    channel = connect(server.target)

    alive = {**dict.fromkeys(READINESS, NOT_SERVING), LIVENESS: SERVING}
    try:
        assert everything() == alive
        server.load()
        assert seen == [alive]
        assert everything() == dict.fromkeys((*READINESS, LIVENESS), SERVING)
        server.gate.listen(lambda: seen.append(everything()))
    finally:
        server.stop()
    assert seen == [alive, alive]


def test_models_that_cannot_be_loaded(tmp_path: Path, connect: Connect) -> None:
    """A server that can't load its model is never SERVING, and stops."""
    server = Server(ServerConfig(port=0, model=(f"tiny={tmp_path}",)))
    server.listen()
    assert health(connect(server.target)) == NOT_SERVING

    with pytest.raises(StartError):
        server.load()

    with pytest.raises(grpc.RpcError):
        health(connect(server.target))


def test_watch(fake: Callable[..., Server], connect: Connect) -> None:
    """A watcher gets the status, and each change."""
    server = fake(FakeEngine())
    stub: Any = HealthStub(connect(server.target))
    watching = stub.Watch(HealthCheckRequest(service="classwire.model.tiny"), timeout=PATIENCE_S)
    unknown = stub.Watch(HealthCheckRequest(service="other"), timeout=PATIENCE_S)
    assert next(watching).status == SERVING
    assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(server.stop)
        assert next(watching).status == NOT_SERVING
        watching.cancel()
        unknown.cancel()
        stopping.result(PATIENCE_S)


def test_a_watcher_that_does_not_read(fake: Callable[..., Server], connect: Connect) -> None:
    """It blocks neither other watchers nor `stop`; the server cancels its call after a while."""
    server = fake(FakeEngine())
    channel = connect(server.target)
    stub: Any = HealthStub(channel)
    early = stub.Watch(HealthCheckRequest(), timeout=PATIENCE_S)
    assert next(early).status == SERVING
    with Connection(server.port, PATIENCE_S, window_bytes=0) as blocked:
        blocked.send(request("/grpc.health.v1.Health/Watch"))
        blocked.send_data(messages(b""), end=True)
        blocked.read_until(HEADERS)
        early.cancel()

        assert health(channel) == SERVING
        late = stub.Watch(HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(late).status == SERVING
        blocked.read_until(HEADERS)

        assert blocked.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])
        server.stop()
        assert next(late).status == NOT_SERVING
    assert eventually(lambda: not any(t.name == "health-watch" for t in threading.enumerate()))


def test_watchers_that_do_not_read(fake: Callable[..., Server], connect: Connect) -> None:
    """The server cancels all watchers of a connection with the first that does not read."""
    server = fake(FakeEngine())
    stub: Any = HealthStub(connect(server.target))
    with Connection(server.port, PATIENCE_S, window_bytes=0) as blocked:
        for stream in range(1, 80, 2):
            blocked.send(request("/grpc.health.v1.Health/Watch", stream))
            blocked.send(Frame(DATA, END_STREAM, stream, messages(b"")))
        blocked.read_until(HEADERS)

        late = stub.Watch(HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(late).status == SERVING
        late.cancel()


def test_watchers_of_many_connections_that_do_not_read(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """Another watcher still gets its status: each of them delays it by SEND_TIMEOUT_S at most."""
    server = fake(FakeEngine())
    stub: Any = HealthStub(connect(server.target))
    with ExitStack() as ends:
        for _ in range(6 * round(PATIENCE_S)):
            blocked = ends.enter_context(Connection(server.port, PATIENCE_S, window_bytes=0))
            blocked.send(request("/grpc.health.v1.Health/Watch"))
            blocked.send_data(messages(b""), end=True)
        blocked.read_until(HEADERS)

        late = stub.Watch(HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(late).status == SERVING
        late.cancel()


def test_health_answers_while_every_thread_is_busy(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """Streams, watchers, and calls that fill the pool do not starve checks."""
    engine = FakeEngine()
    server = fake(engine, rpc_threads=6, max_streams=2)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    checks: Any = HealthStub(channel)
    request = pb.ClassifyRequest(input=pb.TextInput(text="slow"))
    watching = [checks.Watch(HealthCheckRequest(), timeout=PATIENCE_S) for _ in range(10)]
    with Conversation(channel) as first, Conversation(channel) as second:
        for stream in (first, second):
            stream.read_started()
            stream.send_items(item("held", "slow"))
        calls = [stub.Classify.future(request, timeout=PATIENCE_S) for _ in range(20)]
        engine.wait_for(lambda engine: bool(engine.batches))

        for service in (*READINESS, LIVENESS):
            assert health(channel, service) == SERVING
        assert [next(watcher).status for watcher in watching] == [SERVING] * 10

        engine.release()
        for call in calls:
            assert call.result().result.scores
        for watcher in watching:
            watcher.cancel()


def test_streams_do_not_starve_calls(fake: Callable[..., Server], connect: Connect) -> None:
    """The server answers calls while as many streams as allowed are open and idle."""
    channel = connect(fake(FakeEngine(), rpc_threads=6, max_streams=2).target)
    with Conversation(channel) as first, Conversation(channel) as second:
        first.read_started()
        second.read_started()
        request = pb.ClassifyRequest(input=pb.TextInput(text="ok"))
        answers = [
            ClassifyServiceStub(channel).Classify.future(request, timeout=PATIENCE_S)
            for _ in range(10)
        ]
        assert all(answer.result().result.scores for answer in answers)


def services(channel: grpc.Channel) -> set[str]:
    """The services that reflection lists."""
    outbox: queue.SimpleQueue[ServerReflectionRequest | None] = queue.SimpleQueue()
    outbox.put(ServerReflectionRequest(list_services=""))
    outbox.put(None)

    def requests() -> Iterator[ServerReflectionRequest]:
        while (request := outbox.get()) is not None:
            yield request

    stub: Any = ServerReflectionStub(channel)
    [response] = stub.ServerReflectionInfo(requests(), timeout=PATIENCE_S)
    return {service.name for service in response.list_services_response.service}


def test_reflection(channel: grpc.Channel) -> None:
    """Reflection lists every service of the port."""
    assert services(channel) == {
        "classwire.v1.ClassifyService",
        "classwire.v1.ModelService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_reflection_knows_the_contract(channel: grpc.Channel) -> None:
    """Reflection returns the file that defines a service."""
    request = ServerReflectionRequest(file_containing_symbol="classwire.v1.ClassifyService")

    stub: Any = ServerReflectionStub(channel)
    [response] = stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE_S)

    assert pb.DESCRIPTOR.serialized_pb in response.file_descriptor_response.file_descriptor_proto


def test_reflection_can_be_turned_off(fake: Callable[..., Server], connect: Connect) -> None:
    """Without reflection its calls get UNIMPLEMENTED."""
    channel = connect(fake(FakeEngine(), reflection=False).target)

    with pytest.raises(grpc.RpcError) as caught:
        services(channel)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_open_reflection_streams(channel: grpc.Channel) -> None:
    """Open reflection streams hold no thread of health checks."""
    ended = threading.Event()

    def idle() -> Iterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        ended.wait(PATIENCE_S)

    stub: Any = ServerReflectionStub(channel)
    opened = [stub.ServerReflectionInfo(idle(), timeout=PATIENCE_S) for _ in range(2)]
    try:
        for stream in opened:
            assert next(stream)
        assert health(channel) == SERVING
    finally:
        ended.set()
        for stream in opened:
            stream.cancel()


def test_busy_reflection_streams_end(
    fake: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout ends a stream that still sends requests."""
    monkeypatch.setattr(reflection, "STREAM_TIMEOUT_S", 0.1)
    stub: Any = ServerReflectionStub(connect(fake(FakeEngine()).target))
    asked = threading.Semaphore(1)

    def requests() -> Iterator[ServerReflectionRequest]:
        while asked.acquire(timeout=PATIENCE_S):
            yield ServerReflectionRequest(list_services="")

    stream = stub.ServerReflectionInfo(requests(), timeout=2 * PATIENCE_S)

    def ask_for_ever() -> None:
        for response in stream:
            assert response.list_services_response.service
            asked.release()

    with pytest.raises(grpc.RpcError):
        ask_for_ever()
    assert stream.code() is grpc.StatusCode.CANCELLED


def test_too_many_reflection_streams(fake: Callable[..., Server], connect: Connect) -> None:
    """The server rejects them at once with OVERLOADED, and answers health checks."""
    channel = connect(fake(FakeEngine()).target)
    stub: Any = ServerReflectionStub(channel)
    outbox: queue.SimpleQueue[ServerReflectionRequest | None] = queue.SimpleQueue()
    most = reflection.THREADS + reflection.MAX_WAITING
    held = [stub.ServerReflectionInfo(iter(outbox.get, None)) for _ in range(most + 1)]
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for stream in held:
        stream.add_done_callback(ended.put)

    rejected = ended.get(timeout=PATIENCE_S)

    failure = refusal(lambda: next(rejected))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.reason == "OVERLOADED"
    assert health(channel) == SERVING
    for stream in held:
        stream.cancel()
        outbox.put(None)


def test_health_checks_without_a_message(
    fake: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cancels a health check that sends no message in time."""
    monkeypatch.setattr(registration, "HEALTH_TIMEOUT_S", 0.1)
    server = fake(FakeEngine())
    with Connection(server.port, PATIENCE_S) as silent:
        silent.send(request("/grpc.health.v1.Health/Check"))
        silent.read_until(HEADERS)

        assert silent.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])


def test_calls_of_one_connection_are_bounded(fake: Callable[..., Server]) -> None:
    """The server resets further streams of the connection with ENHANCE_YOUR_CALM."""
    server = fake(FakeEngine(), rpc_threads=8, max_streams=1, max_waiting_calls=2)
    silent = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with Connection(server.port, PATIENCE_S) as greedy:
        for stream in range(1, 2 * 30, 2):
            greedy.send(request(silent, stream))
        reset = greedy.read_until(RST_STREAM)

        assert reset.stream == 2 * 20 + 1
        assert int.from_bytes(reset.payload, "big") == ENHANCE_YOUR_CALM


def test_silent_reflection_streams_end(
    fake: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When silent streams hold all threads, the timeout ends them, and the next stream gets its
    answer.
    """
    monkeypatch.setattr(reflection, "STREAM_TIMEOUT_S", 0.1)
    channel = connect(fake(FakeEngine()).target)
    outbox: queue.SimpleQueue[ServerReflectionRequest] = queue.SimpleQueue()
    stub: Any = ServerReflectionStub(channel)
    silent = [
        stub.ServerReflectionInfo(iter(outbox.get, None), timeout=2 * PATIENCE_S)
        for _ in range(reflection.THREADS)
    ]
    outbox.put(ServerReflectionRequest(list_services=""))

    assert services(channel)

    for stream in silent:
        with pytest.raises(grpc.RpcError):
            list(stream)
        assert stream.code() is grpc.StatusCode.CANCELLED
        outbox.put(ServerReflectionRequest())  # lets gRPC's thread of this stream end
