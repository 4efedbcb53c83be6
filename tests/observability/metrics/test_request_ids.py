"""Request ids: every call returns one in its trailers, and log lines have it."""

import logging
import pickle
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

from classwire import Client, errors
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S
from tests.observability.metrics.conftest import Observed

Call = Callable[[grpc.Channel, Any], Any]

LIVE = "/inference.GRPCInferenceService/ServerLive"
METADATA = "/inference.GRPCInferenceService/ServerMetadata"
TEXT = pb.TextInput(text="I love it")


def unary(path: str, request: Any) -> Call:
    """Make a unary call that returns its request id."""

    def call(channel: grpc.Channel, metadata: Any) -> str:
        multi: Any = channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString())
        _, ended = multi.with_call(request, timeout=PATIENCE_S, metadata=metadata)
        return id_in(ended)

    return call


def stream(path: str, *requests: Any) -> Call:
    """Make a streaming call that returns its request id."""

    def call(channel: grpc.Channel, metadata: Any) -> str:
        multi: Any = channel.stream_stream(
            path, request_serializer=lambda message: message.SerializeToString()
        )
        ended = multi(iter(requests), timeout=PATIENCE_S, metadata=metadata)
        list(ended)
        return id_in(ended)

    return call


def id_in(call: Any) -> str:
    """Return the only request id in the trailers of a call."""
    [request_id] = [value for key, value in call.trailing_metadata() if key == "x-request-id"]
    return str(request_id)


SERVICES = {
    "classify": unary("/classwire.v1.ClassifyService/Classify", pb.ClassifyRequest(input=TEXT)),
    "batch": unary(
        "/classwire.v1.ClassifyService/BatchClassify", pb.BatchClassifyRequest(inputs=[TEXT])
    ),
    "tokenize": unary("/classwire.v1.ClassifyService/Tokenize", pb.TokenizeRequest(input=TEXT)),
    "stream": stream(
        "/classwire.v1.ClassifyService/StreamClassify",
        pb.StreamClassifyRequest(config=pb.StreamConfig()),
        pb.StreamClassifyRequest(items=pb.StreamItems(items=[pb.StreamItem(id="1", input=TEXT)])),
    ),
    "models": unary("/classwire.v1.ModelService/ListModels", pb.ListModelsRequest()),
    "health": unary("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest()),
    "reflection": stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest(list_services=""),
    ),
    "probe": unary(LIVE, oip.ServerLiveRequest()),
    "open inference": unary(METADATA, oip.ServerMetadataRequest()),
    "its stream": stream("/inference.GRPCInferenceService/ModelStreamInfer"),
}


@pytest.fixture
def channel(served: Server, connect: Callable[[str], grpc.Channel]) -> grpc.Channel:
    """A channel to the shared server."""
    return connect(served.target)


@pytest.mark.parametrize("call", SERVICES.values(), ids=SERVICES)
def test_every_service(channel: grpc.Channel, call: Call) -> None:
    """The server returns the caller's id, or a new one."""
    assert call(channel, [("x-request-id", "brought/1")]) == "brought/1"
    first, second = call(channel, ()), call(channel, ())
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize(
    "request_id", ["", "two words", "x" * 129, "line{}", '"', "a,b", "<b>"], ids=repr
)
def test_ids_that_are_not_well_formed(channel: grpc.Channel, request_id: str) -> None:
    """The server replaces ids that are too long or have special characters."""
    given = SERVICES["classify"](channel, [("x-request-id", request_id)])

    assert re.fullmatch("[0-9a-f]{32}", given)


def ended_badly(call: Callable[[], object]) -> grpc.Call:
    """Make a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert isinstance(caught.value, grpc.Call)
    return caught.value


METADATA_OF_ONE = (("x-request-id", "mine"),)


def test_errors(channel: grpc.Channel) -> None:
    """A failed call returns its id with the status details."""
    stub: Any = ClassifyServiceStub(channel)
    wrong = pb.ClassifyRequest(input=TEXT, model="other")

    error = ended_badly(lambda: stub.Classify(wrong, timeout=9, metadata=METADATA_OF_ONE))

    assert id_in(error) == "mine"
    assert "grpc-status-details-bin" in dict(error.trailing_metadata())


def test_a_stream_that_fails(channel: grpc.Channel) -> None:
    """A failed stream returns its id."""
    call: Any = channel.stream_stream("/classwire.v1.ClassifyService/StreamClassify")
    talk = call(iter([b"\xff"]), timeout=PATIENCE_S, metadata=METADATA_OF_ONE)

    assert id_in(ended_badly(lambda: list(talk))) == "mine"


def test_no_such_method(channel: grpc.Channel) -> None:
    """A call of an unknown method returns its id, with gRPC's own status."""
    call: Any = channel.unary_unary("/classwire.v1.ClassifyService/Nothing")
    error = ended_badly(lambda: call(b"", timeout=PATIENCE_S, metadata=METADATA_OF_ONE))

    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Method not found!",
    )
    assert id_in(error) == "mine"


def test_a_health_check_that_fails(channel: grpc.Channel) -> None:
    """A failed health check returns its id."""
    stub: Any = HealthStub(channel)
    wrong = health_pb2.HealthCheckRequest(service="none")

    error = ended_badly(lambda: stub.Check(wrong, timeout=9, metadata=METADATA_OF_ONE))

    assert (error.code(), id_in(error)) == (grpc.StatusCode.NOT_FOUND, "mine")


def test_a_draining_server(observed: Observed, connect: Any) -> None:
    """A call that the server rejects without reading it returns its id."""
    server = observed()
    stub: Any = ModelServiceStub(connect(server.target))
    stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=PATIENCE_S)
    server.gate.close()
    request = pb.GetServerInfoRequest()

    error = ended_badly(lambda: stub.GetServerInfo(request, timeout=9, metadata=METADATA_OF_ONE))

    assert (error.code(), id_in(error)) == (grpc.StatusCode.UNAVAILABLE, "mine")


def test_errors_of_the_client(observed: Observed) -> None:
    """The client's errors have the id, even after pickling."""
    with Client(observed().target) as client:
        with pytest.raises(errors.UnknownModelError) as caught:
            client.classify("I love it", model="other", metadata=dict(METADATA_OF_ONE))
        assert pickle.loads(pickle.dumps(caught.value)).request_id == "mine"

        with pytest.raises(errors.InternalError) as defect:
            client.classify("nan", metadata=dict(METADATA_OF_ONE))
        assert defect.value.metadata["id"] == "mine-1"


def test_the_log_of_a_defect(
    observed: Observed, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of an INTERNAL error has the id of its call, also in a stream."""
    channel = connect(observed().target)
    requests = [
        pb.StreamClassifyRequest(config=pb.StreamConfig()),
        pb.StreamClassifyRequest(
            items=pb.StreamItems(items=[pb.StreamItem(id="1", input=pb.TextInput(text="nan"))])
        ),
    ]
    call: Any = channel.stream_stream(
        "/classwire.v1.ClassifyService/StreamClassify",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.StreamClassifyResponse.FromString,
    )

    *_, last = call(iter(requests), timeout=PATIENCE_S, metadata=METADATA_OF_ONE)

    assert last.results.results[0].outcome.error.metadata["id"] == "mine-1"
    [line] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.getMessage().startswith("defect mine-1: BadLogits at ")
