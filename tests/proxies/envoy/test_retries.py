"""Which calls Envoy makes once more on another replica."""

from collections.abc import Iterator

import grpc
import pytest

from classwire import UnavailableError
from classwire.contract.reasons import Reason
from classwire.testing import FakeServer
from classwire.testing.script import Script
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.proxies.envoy.conftest import ChannelTo, ConnectTo, StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, post

TEXT = pb.ClassifyRequest(input=pb.TextInput(text="a"))
DRAINING = Reason("DRAINING")
MANY = 1_000


@pytest.fixture
def replicas() -> Iterator[list[FakeServer]]:
    """Yield two servers that take calls."""
    with FakeServer(["yes"]) as one, FakeServer(["yes"]) as other:
        yield [one, other]


def asked(replicas: list[FakeServer]) -> list[int]:
    """Return how many calls each server got."""
    return [len(replica.calls) for replica in replicas]


@pytest.mark.parametrize("face", ["gRPC", "JSON"])
def test_a_call_is_made_again_on_another_replica(
    start_envoy: StartEnvoy, channel_to: ChannelTo, replicas: list[FakeServer], face: str
) -> None:
    """A replica that answers UNAVAILABLE costs its callers nothing, and each gets one more try."""
    envoy = start_envoy([replica.target for replica in replicas], model="fake")
    stub = ClassifyServiceStub(channel_to(envoy.target))
    replicas[0].fail_next(DRAINING, times=MANY)

    for _ in range(10):
        if face == "gRPC":
            assert stub.Classify(TEXT).result.scores
        else:
            assert post(envoy.target, CLASSIFY, {"input": {"text": "a"}}).status == 200

    assert replicas[0].calls
    assert len(replicas[1].calls) == 10


def test_a_call_that_a_server_cancels_is_made_again(
    start_envoy: StartEnvoy,
    channel_to: ChannelTo,
    replicas: list[FakeServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that stops may end a call as CANCELLED; the caller gets the other's answer."""
    cancelled: list[Script] = []
    begin = Script.begin

    def cancel_first(script: Script, context: grpc.ServicerContext) -> None:
        if not cancelled:
            cancelled.append(script)
            context.abort(grpc.StatusCode.CANCELLED, "")
        begin(script, context)

    monkeypatch.setattr(Script, "begin", cancel_first)
    envoy = start_envoy([replica.target for replica in replicas], model="fake")

    assert ClassifyServiceStub(channel_to(envoy.target)).Classify(TEXT).result.scores
    assert cancelled


def test_a_call_is_made_twice_at_most(
    start_envoy: StartEnvoy, channel_to: ChannelTo, replicas: list[FakeServer]
) -> None:
    """When both replicas answer UNAVAILABLE, the caller gets that, with its details."""
    envoy = start_envoy([replica.target for replica in replicas], model="fake")
    for replica in replicas:
        replica.fail_next(DRAINING, times=MANY)

    with pytest.raises(grpc.RpcError) as caught:
        ClassifyServiceStub(channel_to(envoy.target)).Classify(TEXT)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())
    assert asked(replicas) == [1, 1]


def test_an_overload_is_not_made_again(
    start_envoy: StartEnvoy, channel_to: ChannelTo, replicas: list[FakeServer]
) -> None:
    """RESOURCE_EXHAUSTED goes to the caller, since more calls make an overload worse."""
    envoy = start_envoy([replica.target for replica in replicas], model="fake")
    for replica in replicas:
        replica.fail_next(Reason("OVERLOADED"), retry_after_s=1.0)

    with pytest.raises(grpc.RpcError):
        ClassifyServiceStub(channel_to(envoy.target)).Classify(TEXT)

    assert sum(asked(replicas)) == 1


@pytest.mark.parametrize("caller", ["the library", "a stream"])
def test_never_made_again(
    start_envoy: StartEnvoy,
    channel_to: ChannelTo,
    connect_to: ConnectTo,
    replicas: list[FakeServer],
    caller: str,
) -> None:
    """Envoy makes no call of the library and no stream again: the library retries by itself, and
    only the caller knows which items have no answer.
    """
    envoy = start_envoy([replica.target for replica in replicas], model="fake")
    for replica in replicas:
        replica.fail_next(DRAINING)

    if caller == "the library":
        with pytest.raises(UnavailableError):
            connect_to(envoy.target, retry=False).classify("a")
    else:
        requests = iter([pb.StreamClassifyRequest(config=pb.StreamConfig())])
        with pytest.raises(grpc.RpcError):
            next(ClassifyServiceStub(channel_to(envoy.target)).StreamClassify(requests))

    assert sum(asked(replicas)) == 1
