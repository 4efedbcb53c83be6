"""Calls of the library and of Node give the same through a proxy as without."""

import threading
from collections.abc import Callable

import grpc
import pytest

from classwire import Classification, Client
from classwire.testing import FakeServer
from classwire.testing.script import Script
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import refusal
from tests.node.calls import call, outcomes
from tests.proxies.conftest import StartProxy
from tests.proxies.proxy import Certificate, Proxy

ConnectBy = Callable[..., Client]
ChannelBy = Callable[[Proxy], grpc.Channel]


def test_the_library(proxy: Proxy, connect_by: ConnectBy, servers: list[Server]) -> None:
    """Every call returns what it returns without a proxy."""
    proxied = connect_by(proxy)
    proxied.wait_until_ready(PATIENCE_S)

    def answers(client: Client) -> list[object]:
        return [
            client.classify("I love it", "do you?").scores,
            client.tokenize("I love it"),
            client.model(),
            client.server_info(),
            client.health("classwire.v1.ClassifyService"),
        ]

    with Client(servers[0].target) as direct:
        assert answers(proxied) == answers(direct)
    batch = proxied.classify_batch(["one", "", "three"])
    assert [isinstance(outcome, Classification) for outcome in batch] == [True, False, True]


@pytest.mark.parametrize(
    "request_",
    [
        pb.ClassifyRequest(input=pb.TextInput(text="")),
        pb.ClassifyRequest(input=pb.TextInput(text="a"), model="none"),
        pb.ClassifyRequest(input=pb.TextInput(text="a" * 70_000)),
        pb.ClassifyRequest(input=pb.TextInput(text="a"), options=pb.ClassifyOptions(min_score=2)),
    ],
    ids=["empty", "model", "too large", "option"],
)
def test_errors_with_details(
    proxy: Proxy, channel_by: ChannelBy, servers: list[Server], request_: pb.ClassifyRequest
) -> None:
    """The proxy passes code, reason, field, metadata and message of an error."""
    proxied = ClassifyServiceStub(channel_by(proxy))
    with grpc.insecure_channel(servers[0].target) as channel:
        direct = ClassifyServiceStub(channel)

        found, expected = (
            refusal(lambda stub=stub: stub.Classify(request_, timeout=PATIENCE_S))  # type: ignore[misc]
            for stub in (proxied, direct)
        )

    assert (found, found.message) == (expected, expected.message)


def test_node(proxy: Proxy, certificate: Certificate) -> None:
    """Node gets answers of calls and a stream, and errors with details, over TLS."""
    texts = [{"id": str(n), "input": {"text": f"text {n}"}} for n in range(500)]
    items = [{"items": {"items": texts[n : n + 50]}} for n in range(0, 500, 50)]

    good, bad, stream, info = outcomes(
        proxy.target,
        call("Classify", {"input": {"text": "I love it"}, "options": {"topK": 2}}),
        call("Classify", {"input": {"text": " "}}),
        call("StreamClassify", {"config": {"ordering": "ORDERING_IN_ORDER"}}, *items),
        call("GetServerInfo", {}),
        certificate=certificate.authority,
    )

    assert good["code"] == "OK"
    assert [score["label"] for score in good["responses"][0]["result"]["scores"]] == [
        "5 stars",
        "4 stars",
    ]
    assert (bad["code"], bad["ErrorInfo"]["reason"]) == ("INVALID_ARGUMENT", "EMPTY_TEXT")
    assert bad["BadRequest"]["fieldViolations"][0]["field"] == "input.text"
    assert stream["code"] == "OK"
    results = [result for each in stream["responses"][1:] for result in each["results"]["results"]]
    assert [result["id"] for result in results] == [text["id"] for text in texts]
    assert "stream_classify" in info["responses"][0]["features"]


def test_deadlines(
    start_proxy: StartProxy, channel_by: ChannelBy, certificate: Certificate
) -> None:
    """The server gets the time left of a call, and the call ends at its deadline."""
    text = {"input": {"text": "a"}}
    with FakeServer(["yes"]) as server:
        proxy = start_proxy([server.target, server.target])
        stub = ClassifyServiceStub(channel_by(proxy))
        request = pb.ClassifyRequest(input=pb.TextInput(text="a"))
        stub.Classify(request, timeout=PATIENCE_S)
        server.hold()

        with pytest.raises(grpc.RpcError) as caught:
            stub.Classify(request, timeout=0.2)
        (late,) = outcomes(
            proxy.target, call("Classify", text, timeout_s=0.2), certificate=certificate.authority
        )

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert late["code"] == "DEADLINE_EXCEEDED"
    left_s = [received.time_left_s or 0 for received in server.calls]
    for told_s, given_s in zip(left_s, (PATIENCE_S, 0.2, 0.2), strict=True):
        assert 0 < told_s < 1.1 * given_s  # gRPC rounds what it sends


@pytest.mark.parametrize("kind_of_call", ["unary", "stream"])
def test_cancelled_calls_are_cancelled_in_the_server(
    start_proxy: StartProxy,
    channel_by: ChannelBy,
    monkeypatch: pytest.MonkeyPatch,
    kind_of_call: str,
) -> None:
    """The proxy passes the cancellation of a call to the server."""
    call_is_over = threading.Event()
    begin = Script.begin

    def watched(script: Script, context: grpc.ServicerContext) -> None:
        context.add_callback(call_is_over.set)
        begin(script, context)

    monkeypatch.setattr(Script, "begin", watched)
    with FakeServer(["yes"]) as server:
        server.hold()
        channel = channel_by(start_proxy([server.target, server.target]))
        if kind_of_call == "unary":
            request = pb.ClassifyRequest(input=pb.TextInput(text="a"))
            made: grpc.Call = ClassifyServiceStub(channel).Classify.future(request)
        else:
            made = Conversation(channel).call
        assert eventually(lambda: bool(server.calls))
        assert not call_is_over.is_set()

        made.cancel()

        assert call_is_over.wait(PATIENCE_S)
