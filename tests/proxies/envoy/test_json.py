"""JSON over HTTP and gRPC-Web through Envoy: answers, errors, and what Envoy itself rejects."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.contract.reasons import Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from scripts.envoy import Envoy, Settings
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.proxies.envoy.conftest import ChannelTo, StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, Reply, grpc_web, post, send

NLI = ("contradiction", "neutral", "entailment")
CALLS: list[tuple[str, Message]] = [
    ("ClassifyService/Classify", pb.ClassifyRequest(input=pb.TextInput(text="I love it"))),
    (
        "ClassifyService/BatchClassify",
        pb.BatchClassifyRequest(inputs=[pb.TextInput(text="one"), pb.TextInput(text=" ")]),
    ),
    ("ClassifyService/Tokenize", pb.TokenizeRequest(input=pb.TextInput(text="I love it"))),
    (
        "ClassifyService/Rank",
        pb.RankRequest(
            query="good", documents=["one", "two"], options=pb.RankOptions(label=NLI[0])
        ),
    ),
    (
        "ClassifyService/ZeroShotClassify",
        pb.ZeroShotClassifyRequest(text="a game", candidate_labels=["sport", "art"]),
    ),
    ("ModelService/GetModel", pb.GetModelRequest(name="nli")),
    ("ModelService/ListModels", pb.ListModelsRequest()),
]


@pytest.fixture(scope="module")
def nli(
    installed: None, checkpoint: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Envoy, Server]]:
    """Yield Envoy in front of a server that can make every call, and the server."""
    folder = checkpoint("bert", labels=NLI)
    config = ServerConfig(port=0, model=(f"nli={folder}",))
    with (
        Server(config, FakeEngine((0.0, 1.0, 2.0)).launch) as server,
        Envoy(tmp_path_factory.mktemp("envoy"), [server.target], Settings("nli")) as envoy,
    ):
        yield envoy, server


def without_timing(answer: Message) -> Message:
    """Return an answer without what differs from call to call."""
    if any(field.name == "timing" for field in answer.DESCRIPTOR.fields):
        answer.ClearField("timing")
    return answer


@pytest.mark.parametrize("face", ["json", "gRPC-Web", "gRPC-Web text"])
@pytest.mark.parametrize(("method", "request_"), CALLS, ids=[method for method, _ in CALLS])
def test_answers(
    nli: tuple[Envoy, Server],
    channel_to: ChannelTo,
    method: str,
    request_: Message,
    face: str,
) -> None:
    """Each call gives the same by gRPC and without; JSON has the contract's names, and every
    field that is not set.
    """
    envoy, server = nli
    service, _, name = method.partition("/")
    channel = channel_to(server.target)
    stub: Any = {"ClassifyService": ClassifyServiceStub, "ModelService": ModelServiceStub}[service](
        channel
    )
    expected = without_timing(getattr(stub, name)(request_, timeout=PATIENCE_S))

    if face == "json":
        sent = json_format.MessageToDict(request_, preserving_proto_field_name=True)
        reply = post(envoy.target, f"classwire.v1.{method}", sent)
        assert reply.status == 200
        found = json_format.ParseDict(reply.json, type(expected)())
        assert "labelId" not in str(reply.json)
        if name == "Classify":
            assert reply.json["result"]["truncated_tokens"] == 0
    else:
        outcome = grpc_web(
            envoy.target, f"classwire.v1.{method}", request_, is_text=face.endswith("text")
        )
        assert outcome.trailers["grpc-status"] == "0"
        found = outcome.message(type(expected))

    assert without_timing(found) == expected


@pytest.mark.parametrize(
    ("request_", "status", "code", "reason", "field"),
    [
        ({"input": {"text": " "}}, 400, 3, "EMPTY_TEXT", "input.text"),
        ({"input": {"text": "a" * 70_000}}, 400, 3, "TEXT_TOO_LARGE", "input.text"),
        ({"input": {"text": "a " * 2_000}}, 400, 3, "TOO_MANY_TOKENS", "input.text"),
        ({"input": {"text": "a"}, "model": "none"}, 404, 5, "UNKNOWN_MODEL", "model"),
        (
            {"input": {"text": "a"}, "options": {"min_score": 2}},
            400,
            3,
            "BAD_OPTION",
            "options.min_score",
        ),
        ({}, 400, 3, "EMPTY_TEXT", "input.text"),
    ],
)
def test_errors_have_their_details(
    envoy: Envoy, request_: object, status: int, code: int, reason: str, field: str
) -> None:
    """An error of the server has its code as HTTP status, and reason and field in the JSON."""
    reply = post(envoy.target, CLASSIFY, request_)

    info, violations = reply.json["details"]
    assert (reply.status, reply.json["code"]) == (status, code)
    assert (info["reason"], info["domain"]) == (reason, "classwire")
    assert violations["field_violations"][0]["field"] == field


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [("OVERLOADED", 429, 8), ("NOT_ALLOWED", 403, 7), ("BAD_CREDENTIALS", 401, 16)],
)
def test_errors_of_other_codes(
    start_envoy: StartEnvoy, reason: str, status: int, code: int
) -> None:
    """Codes become HTTP statuses; an overload has its retry delay."""
    with FakeServer(["yes"]) as server:
        server.fail_next(Reason(reason), retry_after_s=1.5)
        reply = post(start_envoy([server.target], model="fake").target, CLASSIFY, {})

    assert (reply.status, reply.json["code"]) == (status, code)
    info, retry = reply.json["details"]
    assert (info["reason"], retry["retry_delay"]) == (reason, "1.500s")


def test_errors_by_grpc_web(envoy: Envoy) -> None:
    """An error by gRPC-Web has its code and details in the trailers."""
    outcome = grpc_web(
        envoy.target, CLASSIFY, pb.ClassifyRequest(input=pb.TextInput(text="a"), model="none")
    )

    assert outcome.trailers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])
    details = outcome.trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=="))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "UNKNOWN_MODEL"


def test_unknown_fields_are_ignored(envoy: Envoy) -> None:
    """Envoy ignores a field that the request does not have, as the guide warns."""
    reply = post(envoy.target, CLASSIFY, {"input": {"text": "a"}, "optoins": {"top_k": 1}})

    assert reply.status == 200
    assert len(reply.json["result"]["scores"]) == 5


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


def test_without_a_ready_replica(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """Every face gets UNAVAILABLE at once."""
    envoy = start_envoy([], model="fake")

    reply = post(envoy.target, CLASSIFY, {"input": {"text": "a"}})
    web = grpc_web(envoy.target, CLASSIFY, pb.ClassifyRequest())
    with pytest.raises(grpc.RpcError) as caught:
        ClassifyServiceStub(channel_to(envoy.target)).Classify(pb.ClassifyRequest())

    assert (reply.status, reply.json["code"]) == (503, 14)
    assert web.trailers["grpc-status"] == "14"
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not str(caught.value.details()).startswith("{")


def test_pages_of_other_origins(start_envoy: StartEnvoy) -> None:
    """A browser may call from the pages of a listed origin, with the headers of gRPC-Web."""
    with FakeServer(["yes"]) as server:
        envoy = start_envoy([server.target], model="fake")
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-grpc-web,grpc-timeout",
        }

        def allowed(origin: str) -> str | None:
            reply = send(envoy.target, CLASSIFY, b"", {"origin": origin, **asked}, "OPTIONS")
            return reply.headers.get("access-control-allow-origin")

        assert allowed("https://pages.example") == "https://pages.example"
        assert allowed("https://other.example") is None
        answer = post(envoy.target, CLASSIFY, {}, origin="https://pages.example")

    assert answer.headers["access-control-allow-origin"] == "https://pages.example"
    assert "grpc-status" in answer.headers["access-control-expose-headers"]
