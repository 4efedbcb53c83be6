"""The service config for clients in any language."""

import json

import grpc
import pytest

from classwire import Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.examples.conftest import ROOT

CONFIG = (ROOT / "examples" / "service_config.json").read_text()
REQUEST = pb.ClassifyRequest(input=pb.TextInput(text="a text"))


def test_unavailable_is_tried_again_and_nothing_else_is() -> None:
    """Bare stubs with the config retry a loading server, and not an overloaded one."""
    with FakeServer(["good"]) as server:
        options = [("grpc.service_config", CONFIG)]
        with grpc.insecure_channel(server.target, options=options) as channel:
            classify = ClassifyServiceStub(channel).Classify
            server.fail_next(Reason.LOADING, times=2)
            assert classify(REQUEST, timeout=10).result.scores[0].label == "good"
            assert len(server.calls) == 3
            server.fail_next(Reason.OVERLOADED, retry_after_s=1)
            with pytest.raises(grpc.RpcError):
                classify(REQUEST, timeout=10)
            assert len(server.calls) == 4


def test_every_method_but_the_stream_is_named() -> None:
    """The config names every unary method, which gRPC may retry."""
    (policy,) = json.loads(CONFIG)["methodConfig"]
    named = {(name["service"], name.get("method")) for name in policy["name"]}
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            is_named = bool({(service.full_name, method.name), (service.full_name, None)} & named)
            assert is_named == (method.name != "StreamClassify")
