"""Calls of the library and of bare stubs give the same through Envoy as without."""

import threading
from collections.abc import Iterator

import grpc
import pytest
import yaml

from classwire import Classification
from classwire.testing import FakeServer
from classwire.testing.script import Script
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from scripts.envoy import SHIPPED, Envoy
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, reason_in, refusal
from tests.proxies.envoy.conftest import ChannelTo, ConnectTo, StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, post

TEXT = pb.ClassifyRequest(input=pb.TextInput(text="a"))


def test_the_library(envoy: Envoy, connect_to: ConnectTo, servers: list[Server]) -> None:
    """Every call returns what it returns without Envoy; each text of a long stream has its result,
    in order.
    """
    proxied, direct = connect_to(envoy.target), connect_to(servers[0].target)

    for client in (proxied, direct):
        client.wait_until_ready(PATIENCE_S)
    assert (
        proxied.classify("I love it", "do you?").scores
        == direct.classify("I love it", "do you?").scores
    )
    assert proxied.tokenize("I love it") == direct.tokenize("I love it")
    assert proxied.model() == direct.model()
    assert proxied.health("classwire.v1.ClassifyService") == direct.health(
        "classwire.v1.ClassifyService"
    )
    batch = proxied.classify_batch(["one", "", "three"])
    assert [isinstance(outcome, Classification) for outcome in batch] == [True, False, True]
    texts = [f"{number} {'a' * 1_500}" for number in range(1_000)]
    found = list(proxied.classify_stream(texts, in_order=True))
    assert [result.id for result in found] == [str(number) for number in range(len(texts))]
    assert all(isinstance(outcome, Classification) for _, _, outcome in found)


@pytest.mark.parametrize(
    "request_",
    [
        pb.ClassifyRequest(input=pb.TextInput(text="")),
        pb.ClassifyRequest(input=pb.TextInput(text="a"), model="none"),
        pb.ClassifyRequest(input=pb.TextInput(text="a" * 70_000)),
    ],
    ids=["empty", "model", "too large"],
)
def test_errors_with_details(
    envoy: Envoy, channel_to: ChannelTo, servers: list[Server], request_: pb.ClassifyRequest
) -> None:
    """Envoy passes code, reason, field, metadata and message of an error."""
    found, expected = (
        refusal(
            lambda target=target: ClassifyServiceStub(  # type: ignore[misc]
                channel_to(target)
            ).Classify(request_, timeout=PATIENCE_S)
        )
        for target in (envoy.target, servers[0].target)
    )

    assert (found, found.message) == (expected, expected.message)


def test_results_are_not_held_back(envoy: Envoy, channel_to: ChannelTo) -> None:
    """Each result of a stream arrives before the caller sends the next text."""
    with Conversation(channel_to(envoy.target)) as stream:
        stream.read_started()
        for number in range(10):
            stream.send_items(item(str(number), "I love it"))
            assert [result.id for result in stream.read_results(1)] == [str(number)]
        stream.half_close()
        assert not stream.read_to_end()


def test_large_messages(envoy: Envoy, channel_to: ChannelTo, servers: list[Server]) -> None:
    """A message up to the server's limit passes; a larger one gets gRPC's RESOURCE_EXHAUSTED."""
    stub = ClassifyServiceStub(channel_to(envoy.target))
    batch = pb.BatchClassifyRequest(inputs=[pb.TextInput(text="a" * 250_000)] * 16)
    too_large = "a" * (servers[0].config.max_message_bytes + 1)

    answer = stub.BatchClassify(batch, timeout=PATIENCE_S)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(pb.ClassifyRequest(input=pb.TextInput(text=too_large)), timeout=PATIENCE_S)

    assert {outcome.error.reason for outcome in answer.outcomes} == {"TEXT_TOO_LARGE"}
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_deadlines(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """A server gets the time left of a call, and Envoy ends the call at its deadline, by gRPC and
    by JSON.
    """
    with FakeServer(["yes"]) as server:
        envoy = start_envoy([server.target], model="fake")
        stub = ClassifyServiceStub(channel_to(envoy.target))
        stub.Classify(TEXT, timeout=PATIENCE_S)
        server.hold()

        with pytest.raises(grpc.RpcError) as caught:
            stub.Classify(TEXT, timeout=0.2)
        late = post(envoy.target, CLASSIFY, {"input": {"text": "a"}}, grpc_timeout="200m")

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (late.status, late.json["code"]) == (504, 4)
    left_s = [received.time_left_s or 0 for received in server.calls]
    for told_s, given_s in zip(left_s, (PATIENCE_S, 0.2, 0.2), strict=True):
        assert 0 < told_s < 1.1 * given_s  # gRPC rounds the timeout that it sends


@pytest.mark.parametrize("end", ["cancelled", "late"])
@pytest.mark.parametrize("kind_of_call", ["unary", "stream"])
def test_calls_that_end_early_end_in_the_server(
    start_envoy: StartEnvoy,
    channel_to: ChannelTo,
    monkeypatch: pytest.MonkeyPatch,
    kind_of_call: str,
    end: str,
) -> None:
    """The server sees that a caller cancelled, or that the deadline passed."""
    is_over = threading.Event()
    begin = Script.begin

    def watched(script: Script, context: grpc.ServicerContext) -> None:
        context.add_callback(is_over.set)
        begin(script, context)

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig())
        is_over.wait(PATIENCE_S)

    monkeypatch.setattr(Script, "begin", watched)
    timeout_s = 0.5 if end == "late" else PATIENCE_S
    with FakeServer(["yes"]) as server:
        server.hold()
        channel = channel_to(start_envoy([server.target], model="fake").target)
        if kind_of_call == "unary":
            made: grpc.Call = ClassifyServiceStub(channel).Classify.future(TEXT, timeout=timeout_s)
        else:
            made = ClassifyServiceStub(channel).StreamClassify(requests(), timeout=timeout_s)
        assert eventually(lambda: bool(server.calls))
        if end == "cancelled":
            assert not is_over.is_set()
            made.cancel()

        assert is_over.wait(PATIENCE_S)


def test_a_server_ends_idle_streams_before_envoy_does(
    start_envoy: StartEnvoy, channel_to: ChannelTo, serve: object, servers: list[Server]
) -> None:
    """The caller gets the server's reason, DRAINING; the shipped timeout is longer than the
    server's default.
    """
    server = serve(  # type: ignore[operator]
        FakeEngine().launch, model=servers[0].config.model, stream_idle_timeout_s=0.1
    )
    with Conversation(channel_to(start_envoy([server.target], model="tiny").target)) as stream:
        stream.read_started()
        with pytest.raises(grpc.RpcError) as caught:
            stream.read()

    assert reason_in(caught.value) == "DRAINING"
    shipped = yaml.safe_load((SHIPPED / "envoy.yaml").read_text())
    (chain,) = shipped["static_resources"]["listeners"][0]["filter_chains"]
    idle_s = float(chain["filters"][0]["typed_config"]["stream_idle_timeout"].removesuffix("s"))
    assert idle_s > ServerConfig().stream_idle_timeout_s


def test_the_access_log_has_no_text(start_envoy: StartEnvoy, connect_to: ConnectTo) -> None:
    """The log has a line for each call, with its outcome, and nothing of what callers sent."""
    with FakeServer(["yes"]) as server:
        envoy = start_envoy([server.target], model="fake")
        client = connect_to(envoy.target)
        client.classify(SECRET)
        list(client.classify_stream([SECRET]))
        post(envoy.target, CLASSIFY, {"input": {"text": SECRET}})
        post(envoy.target, f"{CLASSIFY}?input.text=xylomancy", {})
        post(envoy.target, f"{CLASSIFY}?xylomancy=1", {"input": {"text": SECRET}})
        post(envoy.target, "xylomancy", {"input": SECRET})
        post(envoy.target, CLASSIFY, {"input": SECRET})

        def lines() -> list[str]:
            return [line for line in envoy.log.splitlines() if '"route"' in line]

        assert eventually(lambda: len(lines()) >= 7)

    assert "xylomancy" not in envoy.log
    assert '"grpc_status":"OK"' in lines()[0]
    assert server.target in lines()[0]
