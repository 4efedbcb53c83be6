"""Clients without generated code, such as grpcurl: they read the contract by reflection or from the
.proto, and write messages as JSON.
"""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.failures import invalid, refusal
from tests.node.calls import call, outcomes

ASKED = {
    "input": {"text": "I love it", "textPair": "really"},
    "options": {
        "topK": 2,
        "minScore": 0.5,
        "activation": "ACTIVATION_SIGMOID",
        "includeLogits": True,
        "offsetUnit": "OFFSET_UNIT_UTF16",
    },
}
FOUND = [("5 stars", 4), ("4 stars", 3)]
CONFIG = {"config": {"ordering": "ORDERING_IN_ORDER", "itemTimeout": "10s"}}
ITEMS = [{"id": "a", "input": {"text": "I love it"}}, {"id": "b", "input": {"text": " "}}]


class ReflectingClient:
    """Makes calls from JSON by reflection; each answer is a dict."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self._channel = channel
        self._pool = DescriptorPool(self.database)

    def call(self, method: str, *requests: Any) -> list[dict[str, Any]]:
        """The answers to a unary call or a stream."""
        service, name = method.split("/")
        contract = self._pool.FindServiceByName(service).methods_by_name[name]
        ask, answers = map(GetMessageClass, (contract.input_type, contract.output_type))
        made: Any = self._channel.stream_stream(f"/{method}")
        messages = [json_format.ParseDict(request, ask()) for request in requests]
        raws = made(iter([each.SerializeToString() for each in messages]), timeout=PATIENCE_S)
        return [json_format.MessageToDict(answers.FromString(raw)) for raw in raws]


@pytest.fixture
def server(fake: Callable[..., Server]) -> Server:
    """A server that compresses its answers."""
    return fake(FakeEngine(), compression="gzip")


@pytest.fixture
def reflecting(server: Server, connect: Callable[[str], grpc.Channel]) -> ReflectingClient:
    """A client that knows only the address of the server."""
    return ReflectingClient(connect(server.target))


def test_calls_by_reflection(reflecting: ReflectingClient) -> None:
    """Fields, enums, presence and well-known types work by their JSON names, both ways."""
    (answer,) = reflecting.call("classwire.v1.ClassifyService/Classify", ASKED)
    started, *messages = reflecting.call(
        "classwire.v1.ClassifyService/StreamClassify", CONFIG, {"items": {"items": ITEMS}}
    )

    assert _found(answer) == FOUND
    assert len(answer["result"]["logits"]) == 5
    assert started["started"]["windowItems"]
    good, bad = (result for each in messages for result in each["results"]["results"])
    assert good["outcome"]["classification"]["tokenCount"]
    assert bad["outcome"]["error"]["reason"] == "EMPTY_TEXT"


def test_errors_by_reflection(reflecting: ReflectingClient) -> None:
    """Health works by reflection, and errors have their details."""
    service = "classwire.v1.ClassifyService"
    (health,) = reflecting.call("grpc.health.v1.Health/Check", {"service": service})
    failure = refusal(lambda: reflecting.call(f"{service}/Classify", {"input": {"text": ""}}))

    assert health == {"status": "SERVING"}
    assert failure == invalid("EMPTY_TEXT", "input.text")
    assert service in reflecting.database.get_services()


@pytest.mark.parametrize("compression", [0, 2], ids=["plain", "gzip"])
def test_node(server: Server, compression: int) -> None:
    """Node reads the .proto with proto-loader, and compresses its requests or not."""
    config = {"config": {"ordering": "ORDERING_IN_ORDER", "itemTimeout": {"seconds": 10}}}

    good, bad, stream = outcomes(
        server.target,
        call("Classify", ASKED),
        call("Classify", {"input": {"text": ""}}),
        call("StreamClassify", config, {"items": {"items": ITEMS}}),
        options={"grpc.default_compression_algorithm": compression},
    )

    (answer,) = good["responses"]
    assert _found(answer) == FOUND
    assert (bad["code"], bad["ErrorInfo"]["reason"]) == ("INVALID_ARGUMENT", "EMPTY_TEXT")
    started, *messages = stream["responses"]
    assert started["started"]["windowItems"]
    first, second = (result for each in messages for result in each["results"]["results"])
    assert first["outcome"]["classification"]["tokenCount"]
    assert second["outcome"]["error"]["reason"] == "EMPTY_TEXT"


def _found(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(score["label"], score["labelId"]) for score in answer["result"]["scores"]]
