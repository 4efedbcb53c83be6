"""Size limits, and limits per caller, behind a proxy."""

from collections.abc import Callable
from typing import cast

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, eventually
from tests.node.calls import call, outcomes
from tests.proxies.conftest import StartProxy
from tests.proxies.proxy import Certificate, Nginx, Proxy

ChannelBy = Callable[[Proxy], grpc.Channel]

TEXT = pb.ClassifyRequest(input=pb.TextInput(text="I love it"))


def test_large_messages(
    proxy: Proxy, channel_by: ChannelBy, certificate: Certificate, servers: list[Server]
) -> None:
    """The proxy passes messages up to the server's limit, and the server's error above it."""
    stub = ClassifyServiceStub(channel_by(proxy))
    inputs = [pb.TextInput(text="a" * 250_000)] * 16
    answer = stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)
    assert {outcome.error.reason for outcome in answer.outcomes} == {"TEXT_TOO_LARGE"}
    too_large = "a" * (servers[0].config.max_message_bytes + 1)

    rejected, _ = outcomes(
        proxy.target,
        call("Classify", {"input": {"text": too_large}}),
        call("Classify", {"input": {"text": "a"}}),
        certificate=certificate.authority,
    )

    assert (rejected["code"], rejected.get("ErrorInfo")) == ("RESOURCE_EXHAUSTED", None)
    assert stub.Classify(TEXT, timeout=PATIENCE_S).result.scores


def test_large_metadata(proxy: Proxy, channel_by: ChannelBy) -> None:
    """Metadata within the server's limit passes; far above it the call fails, but not the next."""
    stub = ClassifyServiceStub(channel_by(proxy))

    stub.Classify(TEXT, metadata=(("x", "y" * 7_000),), timeout=PATIENCE_S)
    with pytest.raises(grpc.RpcError):
        stub.Classify(TEXT, metadata=(("x", "y" * 100_000),), timeout=PATIENCE_S)
    assert stub.Classify(TEXT, timeout=PATIENCE_S).result.scores


def test_limits_of_an_address(
    start_proxy: StartProxy, channel_by: ChannelBy, servers: list[Server], kind: type[Proxy]
) -> None:
    """Calls (nginx) or connections (HAProxy) above the limit are UNAVAILABLE; those within it
    continue, and make room when they end.
    """
    edit = {"callers 256": "callers 1"} if kind is Nginx else {"cur gt 64": "cur gt 1"}
    proxy = start_proxy([server.target for server in servers], edit)
    channel = channel_by(proxy)
    stub = ClassifyServiceStub(channel_by(proxy))

    def answer() -> grpc.StatusCode:
        try:
            stub.Classify(TEXT, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return cast(grpc.Call, error).code()
        return grpc.StatusCode.OK

    with Conversation(channel) as stream:
        stream.read_started()
        assert answer() is grpc.StatusCode.UNAVAILABLE
        stream.send_items(item("a", "I love it"))
        assert stream.read_results(1)
    channel.close()
    assert eventually(lambda: answer() is grpc.StatusCode.OK)
