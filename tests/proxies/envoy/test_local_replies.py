"""What Envoy answers itself, without a replica's answer: JSON for callers without gRPC, always."""

import gzip
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest

from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from scripts.envoy import Envoy
from tests.contract.engines import PATIENCE_S, eventually
from tests.proxies.envoy.conftest import ChannelTo, StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, Reply, grpc_web, post, raw, send

JSON = {"content-type": "application/json"}
STREAM = "classwire.v1.ClassifyService/StreamClassify"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CLASSIFY, b'{"input" {"text": "xylomancy"}}', 400, 3),
        (CLASSIFY, b"xylomancy", 400, 3),
        (CLASSIFY, b'{"input": "xylomancy"}', 400, 3),
        (CLASSIFY, b'["xylomancy"]', 400, 3),
        (CLASSIFY, b'{"input": {"text": "xylomancy \xff"}}', 400, 3),
        (CLASSIFY, b'{"input": {"text": "a"}, "options": {"top_k": -1}}', 400, 3),
        (CLASSIFY, b'{"input": {"text": "a"}, "options": {"activation": "xylomancy"}}', 400, 3),
        (f"{CLASSIFY}?xylomancy=1", b'{"input": {"text": "a"}}', 400, 3),
        ("classwire.v1.ClassifyService/Xylomancy", b"{}", 404, 12),
        ("xylomancy", b"{}", 404, 12),
        ("", b"", 404, 12),
        ("grpc.health.v1.Health/Check", b"{}", 404, 12),
        (STREAM, b'[{"config": {}}]', 404, 12),
        (CLASSIFY, b'{"input": {"text": "xylomancy \\ud800"}}', 400, 3),
        (CLASSIFY, b'{"input": ' * 200 + b"1" + b"}" * 200, 400, 3),
        (CLASSIFY, gzip.compress(b'{"input": {"text": "xylomancy"}}', mtime=0), 400, 3),
        (CLASSIFY, b'{"input": {"text": "' + b"a" * (21 << 20) + b'"}}', 413, 8),
    ],
)
def test_what_envoy_rejects(envoy: Envoy, path: str, body: bytes, status: int, code: int) -> None:
    """Envoy answers with a JSON object of code and message, which quotes nothing of the request.

    The servers still answer.
    """
    reply = send(envoy.target, path, body, JSON)

    assert reply.status == status
    assert reply.json.keys() == {"code", "message"}
    assert (reply.json["code"], bool(reply.json["message"])) == (code, True)
    assert b"xylomancy" not in reply.body.lower()
    assert post(envoy.target, CLASSIFY, {"input": {"text": "a"}}).status == 200


def test_other_rejections(envoy: Envoy) -> None:
    """A wrong method, and headers over the limit, get JSON too; a body of no type is JSON."""
    request = b'{"input": {"text": "a"}}'

    def rejected(reply: Reply) -> tuple[int, int]:
        return reply.status, reply.json["code"]

    assert rejected(send(envoy.target, CLASSIFY, method="GET")) == (404, 12)
    long = send(envoy.target, CLASSIFY, request, {**JSON, "x-long": "a" * 70_000})
    assert rejected(long) == (431, 8)
    assert send(envoy.target, CLASSIFY, request).status == 200


TEXT = pb.ClassifyRequest(input=pb.TextInput(text="a"))
CALL = b'{"input": {"text": "a"}}'
HEAD = b"POST /%s HTTP/1.1\r\nhost: a\r\n" % CLASSIFY.encode()


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"xylomancy\r\n\r\n", 400, 3),
        (HEAD + b"content-length: xylomancy\r\n\r\n", 400, 3),
        (HEAD + b"xylo_mancy: 1\r\ncontent-length: 24\r\n\r\n" + CALL, 400, 3),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"content-length: 24\r\n\r\n" + CALL, 426, 13),
        (HEAD + b"transfer-encoding: xylomancy\r\n\r\n", 501, 13),
    ],
    ids=["no HTTP", "no length", "underscore", "HTTP/1.0", "encoding"],
)
def test_requests_that_are_not_http(envoy: Envoy, request_: bytes, status: int, code: int) -> None:
    """What is not HTTP/1.1, or is ambiguous in it, gets JSON too, which quotes nothing of it."""
    reply = raw(envoy.target, request_)

    assert (reply.status, reply.json["code"]) == (status, code)
    assert b"xylo" not in reply.body


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_request_that_does_not_arrive_in_time(start_envoy: StartEnvoy, part: str) -> None:
    """A caller that stops in its headers or in its body gets JSON after Envoy's timeout."""
    edits = {"request_headers_timeout: 10s": "request_headers_timeout: 0.2s"}
    edits["stream_idle_timeout: 900s"] = "stream_idle_timeout: 0.2s"
    sent = HEAD if part == "headers" else HEAD + b"content-length: 24\r\n\r\n{"

    reply = raw(start_envoy([], model="fake", edits=edits).target, sent)

    assert (reply.status, reply.json["code"]) == (408, 4)


def test_an_answer_over_the_limit(start_envoy: StartEnvoy) -> None:
    """An answer whose JSON is too long for Envoy is an error in JSON."""
    limit = "max_response_body_size"
    with FakeServer(["yes"]) as server:
        envoy = start_envoy(
            [server.target], model="fake", edits={f"{limit}: 20971520": f"{limit}: 8"}
        )
        reply = post(envoy.target, CLASSIFY, {"input": {"text": "a"}})

    assert (reply.status, reply.json["code"]) == (500, 13)


@pytest.fixture
def closing() -> Iterator[str]:
    """Yield the address of a server that closes every connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def close_all() -> None:
        while not over.is_set():
            listening.accept()[0].close()

    thread = threading.Thread(target=close_all)
    thread.start()
    host, port = listening.getsockname()
    yield f"{host}:{port}"
    over.set()
    socket.create_connection((host, port)).close()
    thread.join(PATIENCE_S)
    listening.close()


def assert_unavailable(envoy: Envoy, channel_to: ChannelTo) -> None:
    """Every face gets UNAVAILABLE: JSON as JSON, the others by gRPC's status."""
    reply = post(envoy.target, CLASSIFY, {"input": {"text": "a"}})
    web = grpc_web(envoy.target, CLASSIFY, pb.ClassifyRequest())
    with pytest.raises(grpc.RpcError) as caught:
        ClassifyServiceStub(channel_to(envoy.target)).Classify(pb.ClassifyRequest())

    assert (reply.status, reply.json["code"]) == (503, 14)
    assert web.trailers["grpc-status"] == "14"
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not str(caught.value.details()).startswith("{")


def test_without_a_ready_replica(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """Without a replica every face gets UNAVAILABLE at once."""
    assert_unavailable(start_envoy([], model="fake"), channel_to)


PANIC = {"healthy_panic_threshold: {value: 0}": "healthy_panic_threshold: {value: 100}"}
"""Envoy calls replicas that fail their health checks too."""


def test_a_replica_that_closes_connections(
    start_envoy: StartEnvoy, channel_to: ChannelTo, closing: str
) -> None:
    """A lost connection is UNAVAILABLE on every face."""
    envoy = start_envoy([closing], model="fake", edits=PANIC)

    assert_unavailable(envoy, channel_to)
    assert eventually(lambda: '"flags":"URX,UC"' in envoy.log)


def test_a_replica_without_a_port(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """A connection that fails is UNAVAILABLE on every face."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        target = f"127.0.0.1:{unused.getsockname()[1]}"
    envoy = start_envoy([target], model="fake", edits=PANIC)

    assert_unavailable(envoy, channel_to)
    assert eventually(lambda: '"flags":"URX,UF"' in envoy.log)


def test_more_calls_than_envoy_takes(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """A call over Envoy's limit of calls in flight is UNAVAILABLE on every face."""
    limit = "max_requests"
    with FakeServer(["yes"]) as server:
        envoy = start_envoy([server.target], model="fake", edits={f"{limit}: 4096": f"{limit}: 1"})
        server.hold()
        stub = ClassifyServiceStub(channel_to(envoy.target))
        held = stub.Classify.future(TEXT, timeout=PATIENCE_S)
        assert eventually(lambda: bool(server.calls))
        assert_unavailable(envoy, channel_to)
        server.release()
        held.result()
    assert eventually(lambda: '"flags":"UO"' in envoy.log)
