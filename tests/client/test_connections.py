"""Connections of both clients: deadlines, balancing, readiness, closing."""

import math
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from classwire import (
    ClasswireError,
    Client,
    DeadlineExceededError,
    InvalidInputError,
    UnavailableError,
    UnimplementedError,
    UnusableClientError,
)
from classwire._calls.retry import Deadline
from classwire._connection.readiness import Readiness
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1 import classwire_pb2_grpc as pb_grpc

MakeClient = Callable[..., Any]


def test_metadata_of_client_and_call(make_client: MakeClient, server: FakeServer) -> None:
    """Every kind of call carries the metadata of the client and of the call."""
    client = make_client(server.target, metadata={"x-client": "1"})
    client.classify("text", metadata={"x-call": "2"})
    client.classify_batch(["text"], metadata={"x-call": "2"})
    list(client.classify_stream(["text"], metadata={"x-call": "2"}))
    client.tokenize("text", metadata={"x-call": "2"})
    assert [(c.metadata["x-client"], c.metadata["x-call"]) for c in server.calls] == [
        ("1", "2")
    ] * 4


def test_a_call_has_a_deadline(make_client: MakeClient, server: FakeServer) -> None:
    """A call has its own timeout, or the client's."""
    server.hold()
    client = make_client(server.target, timeout_s=0.2)
    with pytest.raises(DeadlineExceededError):
        client.classify("text")
    with pytest.raises(TimeoutError):
        client.classify("text", timeout_s=0.1)
    with pytest.raises(DeadlineExceededError):
        client.classify_batch(["text"])
    server.release()
    assert client.classify("text", timeout_s=math.inf).label == "long"


def test_every_call_has_one_by_default(client: Any, server: FakeServer) -> None:
    """By default a call has a deadline of 30 s, and a stream an item timeout instead."""
    client.classify("text")
    client.classify("text", timeout_s=math.inf)
    list(client.classify_stream(["text"]))
    list(client.classify_stream(["text"], item_timeout_s=1.5, timeout_s=60))
    list(client.classify_stream(["text"], item_timeout_s=math.inf))
    seconds = [call.time_left_s and round(call.time_left_s) for call in server.calls]
    assert seconds == [30, None, None, 60, None]
    configs = [
        request.config
        for request in server.requests
        if isinstance(request, pb.StreamClassifyRequest) and request.HasField("config")
    ]
    assert [config.item_timeout.ToMilliseconds() for config in configs] == [600_000, 1_500, 0]
    assert not configs[2].HasField("item_timeout")


def test_no_server_at_the_address(make_client: MakeClient) -> None:
    """A call to an address without a listener raises one clear error."""
    with FakeServer(["yes"]) as server:
        gone = server.target
    client = make_client(gone, retry=False)
    with pytest.raises(UnavailableError, match="UNAVAILABLE: "):
        client.classify("text")
    with pytest.raises(UnavailableError) as raised:
        list(client.classify_stream(["text"]))
    assert raised.value.unanswered == ()


def test_several_addresses_share_the_calls(make_client: MakeClient) -> None:
    """Calls go round robin to several addresses."""
    with FakeServer(["one"]) as one, FakeServer(["two"]) as two:
        client = make_client([one.target, two.target])
        labels = set()
        for _ in range(200):  # the second connection may open a moment later than the first
            labels.add(client.classify("text").label)
            if len(labels) == 2:
                break
        assert labels == {"one", "two"}


def test_health(client: Any, server: FakeServer) -> None:
    """`health` returns the status of the server, and an error for an unknown service."""
    assert client.health() == "SERVING"
    assert client.health("nothing") == "SERVICE_UNKNOWN"
    server.set_serving(False)
    assert client.health() == "NOT_SERVING"


def test_wait_until_ready_waits_for_serving(make_client: MakeClient) -> None:
    """`wait_until_ready` returns when the server is SERVING, not before."""
    with FakeServer(["yes"]) as server:
        server.set_serving(False)
        client = make_client(server.target)
        with pytest.raises(
            DeadlineExceededError, match=r"not ready within 0\.2 s: it is NOT_SERVING"
        ):
            client.wait_until_ready(0.2)
        serving = threading.Timer(0.1, server.set_serving, [True])
        serving.start()
        client.wait_until_ready(30)
        serving.join()


def test_wait_until_ready_waits_for_the_server(make_client: MakeClient, tmp_path: Path) -> None:
    """`wait_until_ready` waits for a server to start; its timeout error says that no server
    answered.
    """
    target = f"unix:{tmp_path}/server.sock"
    client = make_client(target)
    with pytest.raises(DeadlineExceededError, match=r"not ready within 0\.2 s: no server answers"):
        client.wait_until_ready(0.2)
    started: list[FakeServer] = []

    def start() -> None:
        started.append(FakeServer(["yes"], address=target))
        started[0].start()

    starting = threading.Timer(0.1, start)
    starting.start()
    client.wait_until_ready(30)
    assert client.classify("text").label == "yes"
    starting.join()
    started[0].stop()


def test_waiting_for_readiness_raises_permanent_errors() -> None:
    """`wait_until_ready` waits while the server is UNAVAILABLE, and raises permanent errors at
    once.
    """
    readiness = Readiness("there", Deadline(None))
    readiness.failed(UnavailableError("told so"))
    assert readiness.pause_s() > 0
    with pytest.raises(UnimplementedError):
        readiness.failed(UnimplementedError("told so"))
    late = Readiness("there", Deadline(1e-9))
    late.heard(health_pb2.HealthCheckResponse(status="NOT_SERVING"))
    with pytest.raises(
        DeadlineExceededError, match="there was not ready within 1e-09 s: it is NOT"
    ):
        late.failed(UnavailableError("told so"))


def test_a_closed_client_says_so(make_client: MakeClient, server: FakeServer) -> None:
    """Every call of a closed client raises an error; closing again does nothing."""
    client = make_client(server.target)
    client.classify("text")
    client.close()
    client.close()
    for call in (client.classify, client.classify_batch, client.classify_stream):
        with pytest.raises(UnusableClientError, match="closed"):
            call(["text"])


def test_a_client_closed_before_its_stream_began_says_so(
    make_client: MakeClient, server: FakeServer
) -> None:
    """The loop over a stream raises an error when its client was closed before the first `next`."""
    client = make_client(server.target)
    client.classify("text")
    stream = client.classify_stream(["text"])
    client.close()
    with pytest.raises(UnusableClientError, match="closed"):
        list(stream)


def test_a_client_closed_on_the_way_to_a_call_says_so(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call raises an error when another thread closes the client in the middle of the method."""
    generated = pb_grpc.ClassifyServiceStub

    def stub(channel: Any) -> Any:
        made = generated(channel)
        classify: Any = made.Classify

        def close_and_call(*args: Any, **how: Any) -> Any:
            client.close()
            return classify.with_call(*args, **how)

        return SimpleNamespace(Classify=SimpleNamespace(with_call=close_and_call))

    monkeypatch.setattr(pb_grpc, "ClassifyServiceStub", stub)
    client = Client(server.target)
    with pytest.raises(UnusableClientError, match="closed"):
        client.classify("text")


@pytest.mark.parametrize("timeout_s", [1e10, 1e300, 10**400], ids=["1e10", "1e300", "10**400"])
def test_very_long_times_are_no_limit(client: Any, server: FakeServer, timeout_s: float) -> None:
    """Timeouts longer than gRPC can represent mean no deadline."""
    client.classify("text", timeout_s=timeout_s)
    list(client.classify_stream(["text"], timeout_s=timeout_s, item_timeout_s=timeout_s))
    assert [call.time_left_s for call in server.calls] == [None, None]


def test_a_forked_client_says_so(
    make_client: MakeClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a forked child the client raises an error that names both processes, since gRPC would
    hang.
    """
    client = make_client(server.target)
    client.classify("text")
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(UnusableClientError, match="does not survive a fork"):
            client.classify("text")
        with pytest.raises(UnusableClientError):
            client.classify_stream(["text"])
    assert client.classify("text").label == "long"


def test_options_of_the_channel_win(make_client: MakeClient) -> None:
    """The caller's channel options replace the client's, such as the limit of a response's size."""
    with FakeServer(lambda text, pair: {"x" * 5000: 1.0}) as server:
        client = make_client(server.target, options=[("grpc.max_receive_message_length", 4000)])
        with pytest.raises(ClasswireError) as raised:
            client.classify("text")
    assert type(raised.value).__name__ == "MessageTooLargeError"
    assert raised.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_credentials_and_compression_reach_grpc(
    make_client: MakeClient, server: FakeServer
) -> None:
    """The channel uses the credentials and the compression that the client was given."""
    secured = make_client(server.target, credentials=grpc.ssl_channel_credentials(), retry=False)
    with pytest.raises(UnavailableError):
        secured.classify("text")
    assert not server.requests
    local = make_client(server.target, credentials=grpc.local_channel_credentials())
    assert local.classify("text").label == "long"
    packed = make_client(server.target, compression=grpc.Compression.Gzip)
    assert packed.classify("text").label == "long"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"A key": "x"}, "the key 'A key'"),
        ({"": "x"}, "the key ''"),
        ({"key": "naïve"}, "the value of 'key' is not printable ASCII"),
        ({"key": b"x"}, "the value of 'key' must be a str"),
        ({"key-bin": "x"}, "the value of 'key-bin' must be bytes"),
    ],
)
def test_metadata_that_cannot_be_sent(
    client: Any, server: FakeServer, metadata: Any, said: str
) -> None:
    """Invalid metadata raises an error that names it, before the client sends anything."""
    with pytest.raises(InvalidInputError, match=re.escape(said)) as raised:
        client.classify("text", metadata=metadata)
    assert raised.value.field == "metadata"
    assert not server.requests


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ([("key", "value")], "must be a mapping, not a list"),
        ({1: "x"}, "a key of metadata must be a str, not int"),
        ({b"key": "x"}, "a key of metadata must be a str, not bytes"),
        (
            {"key": None},
            "the value of 'key' must be a str, bytes or a sequence of them, not NoneType",
        ),
        ({"key": [1]}, "the value of 'key' must be a str or bytes, not int"),
    ],
)
def test_metadata_of_a_wrong_type(client: Any, metadata: Any, said: str) -> None:
    """Metadata of a wrong type raises an error that says what is wrong."""
    with pytest.raises(TypeError, match=said):
        client.classify("text", metadata=metadata)
