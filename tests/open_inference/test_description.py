"""Metadata, configuration and health of the server and its models."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from classwire_server import __version__
from classwire_server.open_inference import inference_pb2 as pb
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.failures import Failure, refusal
from tests.contract.test_health import health
from tests.open_inference.wire import SERVICE, Stub, Talk, request

Connect = Callable[[str], grpc.Channel]

UNKNOWN = [("", "", "name"), ("other", "", "name"), ("tiny", "2", "version")]


def test_server_metadata(stub: Stub) -> None:
    """The name, the version and the supported extensions of Triton."""
    assert stub.ServerMetadata(pb.ServerMetadataRequest()) == pb.ServerMetadataResponse(
        name="classwire",
        version=__version__,
        extensions=["classification", "model_configuration", "schedule_policy", "statistics"],
    )


@pytest.mark.parametrize("version", ["", "1"])
def test_metadata_and_config(stub: Stub, version: str) -> None:
    """Metadata and configuration agree with each other and with the answers."""
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="multi", version=version))
    config = stub.ModelConfig(pb.ModelConfigRequest(name="multi", version=version)).config

    assert (metadata.name, list(metadata.versions), config.name) == ("multi", ["1"], "multi")
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("text", "BYTES", [-1, 1]),
        ("text_pair", "BYTES", [-1, 1]),
    ]
    response = stub.ModelInfer(request("a", "b", model="multi"))
    assert [(t.name, t.datatype, [2, *t.shape[1:]]) for t in metadata.outputs] == [
        (t.name, t.datatype, list(t.shape)) for t in response.outputs
    ]
    assert config.max_batch_size == 16
    assert [(t.name, t.data_type, list(t.dims), t.optional) for t in config.input] == [
        ("text", pb.TYPE_STRING, [1], False),
        ("text_pair", pb.TYPE_STRING, [1], True),
    ]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [
        ("scores", pb.TYPE_FP32, [3]),
        ("label", pb.TYPE_STRING, []),
        ("label_id", pb.TYPE_INT32, []),
    ]
    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert config.dynamic_batching.priority_levels == 2
    policy = config.dynamic_batching.default_queue_policy
    assert policy.default_timeout_microseconds == 30_000_000
    assert not config.model_transaction_policy.decoupled
    assert not config.response_cache.enable


@pytest.mark.parametrize(("name", "version", "field"), UNKNOWN)
@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_unknown_models(stub: Stub, method: str, name: str, version: str, field: str) -> None:
    """Unknown models get UNKNOWN_MODEL; statistics without a name are those of all models."""
    asked = getattr(pb, f"{method}Request")(name=name, version=version)
    if method == "ModelStatistics" and not name:
        names = [stats.name for stats in stub.ModelStatistics(asked).model_stats]
        assert names == ["tiny", "multi", "value"]
        return

    failure = refusal(lambda: getattr(stub, method)(asked))

    assert failure == Failure(grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL", field)


def test_readiness(stub: Stub) -> None:
    """An unknown model is not ready; asking for it is no error."""
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    for version in ("", "1"):
        assert stub.ModelReady(pb.ModelReadyRequest(name="multi", version=version)).ready
    for name, version, _ in UNKNOWN:
        assert not stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready


def test_a_lost_worker(fake: Callable[..., Server], connect: Connect) -> None:
    """A model without its process is not ready, and the index says why; then it is ready again."""
    engine = FakeEngine()
    stub = Stub(connect(fake(engine).target))
    everything = pb.RepositoryIndexRequest()
    ready = pb.RepositoryIndexRequest(ready=True)

    engine.lose("its process was killed")

    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert not stub.ServerReady(pb.ServerReadyRequest()).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="tiny")).ready
    [model] = stub.RepositoryIndex(everything).models
    assert (model.name, model.state, model.reason) == (
        "tiny",
        "UNAVAILABLE",
        "its process was killed",
    )
    assert not stub.RepositoryIndex(ready).models
    assert refusal(lambda: stub.ModelInfer(request("good"))).reason == "WORKER_LOST"
    engine.come_back()
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    [model] = stub.RepositoryIndex(ready).models
    assert (model.name, model.version, model.state, model.reason) == ("tiny", "1", "READY", "")


def test_repository_index(stub: Stub) -> None:
    """The models by name, the default one first; the repository has no name."""
    models = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    assert [(m.name, m.version, m.state) for m in models] == [
        (name, "1", "READY") for name in ("tiny", "multi", "value")
    ]

    failure = refusal(
        lambda: stub.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="other"))
    )

    assert (failure.reason, failure.field) == ("BAD_OPTION", "repository_name")


def test_draining(fake: Callable[..., Server], connect: Connect) -> None:
    """A draining server is live but not ready, and rejects new calls with DRAINING."""
    engine = FakeEngine()
    server = fake(engine)
    stub = Stub(connect(server.target))
    with Talk(connect(server.target)) as stream, ThreadPoolExecutor(1) as pool:
        stream.send(request("slow"))
        engine.wait_for(lambda engine: bool(engine.texts))
        closed = threading.Event()
        server.gate.listen(closed.set)

        stopping = pool.submit(server.stop)

        assert closed.wait(PATIENCE_S)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert not stub.ModelReady(pb.ModelReadyRequest(name="tiny")).ready
        assert refusal(lambda: stub.ServerMetadata(pb.ServerMetadataRequest())).reason == "DRAINING"
        engine.release()
        assert stream.read().infer_response.outputs
        stopping.result(PATIENCE_S)


@pytest.mark.parametrize(
    "method", ["RepositoryModelLoad", "SystemSharedMemoryRegister", "TraceSetting", "LogSettings"]
)
def test_unsupported_methods(channel: grpc.Channel, method: str) -> None:
    """The other RPCs of Triton are UNIMPLEMENTED."""
    call: Any = channel.unary_unary(f"/{SERVICE.full_name}/{method}")

    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=PATIENCE_S)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def listed(channel: grpc.Channel) -> list[str]:
    """The services that reflection lists."""
    stub: Any = ServerReflectionStub(channel)
    asked = iter([ServerReflectionRequest(list_services="")])
    [answer] = stub.ServerReflectionInfo(asked, timeout=PATIENCE_S)
    return [service.name for service in answer.list_services_response.service]


def test_health_and_reflection(channel: grpc.Channel) -> None:
    """Health reports the service; reflection lists it and returns its file."""
    assert health(channel, SERVICE.full_name) == HealthCheckResponse.SERVING
    assert SERVICE.full_name in listed(channel)
    stub: Any = ServerReflectionStub(channel)
    asked = ServerReflectionRequest(file_containing_symbol=SERVICE.full_name)
    [answer] = stub.ServerReflectionInfo(iter([asked]), timeout=PATIENCE_S)
    assert answer.file_descriptor_response.file_descriptor_proto


def test_turned_off(fake: Callable[..., Server], connect: Connect) -> None:
    """With --no-open-inference the service is UNIMPLEMENTED; health and reflection lack it."""
    channel = connect(fake(FakeEngine(), open_inference=False).target)

    for method, asked in (
        ("ModelInfer", request("good")),
        ("ServerLive", pb.ServerLiveRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            getattr(Stub(channel), method)(asked)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        health(channel, SERVICE.full_name)
    assert SERVICE.full_name not in listed(channel)
