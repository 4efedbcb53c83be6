"""JSON over HTTP and gRPC-Web through Envoy: answers, and errors of the servers."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.contract.reasons import CODES, Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from scripts.envoy import Envoy, Settings
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.proxies.envoy.conftest import ChannelTo, StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, grpc_web, post, send

NLI = ("contradiction", "neutral", "entailment")
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each code of the contract, as google/rpc/code.proto maps them."""
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
        ({"input": None, "options": None}, 400, 3, "EMPTY_TEXT", "input.text"),
        (
            {"input": {"text": "a"}, "options": {"min_score": "NaN"}},
            400,
            3,
            "BAD_OPTION",
            "options.min_score",
        ),
        (
            {"input": {"text": "a"}, "options": {"activation": 99}},
            400,
            3,
            "UNKNOWN_ENUM",
            "options.activation",
        ),
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


@pytest.fixture(scope="module")
def fake(
    installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Envoy, FakeServer]]:
    """Yield Envoy in front of a server that fails as told, and the server."""
    with (
        FakeServer(["yes"]) as server,
        Envoy(tmp_path_factory.mktemp("envoy"), [server.target], Settings("fake")) as envoy,
    ):
        yield envoy, server


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_by_json(fake: tuple[Envoy, FakeServer], reason: Reason) -> None:
    """Each reason of the contract comes with the HTTP status of its code, its details, and the
    delay before a retry.
    """
    envoy, server = fake
    code = CODES[reason]
    tries = 2 if code == "UNAVAILABLE" else 1  # Envoy makes such a call once more
    server.fail_next(reason, times=tries, retry_after_s=1.5)

    reply = post(envoy.target, CLASSIFY, {})

    assert reply.status == STATUSES[code]
    assert reply.json["code"] == grpc.StatusCode[code].value[0]
    info, retry = reply.json["details"]
    assert (info["reason"], info["domain"]) == (reason.value, "classwire")
    assert retry["retry_delay"] == "1.500s"


@pytest.mark.parametrize(
    ("name", "wrong", "right", "status"),
    [
        ("grpc-timeout", "20s", "20S", 400),
        ("grpc-timeout", "xylomancy", "20S", 400),
        ("grpc-encoding", "xylomancy", "identity", 400),
        ("grpc-previous-rpc-attempts", "xylomancy", "1", 200),
        ("x-any-bin", "xylomancy!", "MQ==", 200),
    ],
)
def test_a_wrong_header_fails_no_other_call(
    fake: tuple[Envoy, FakeServer], name: str, wrong: str, right: str, status: int
) -> None:
    """Envoy sends servers no header that gRPC's core cannot parse: it would fail all later calls
    of other callers that have its name.
    """
    target, body = fake[0].target, b'{"input": {"text": "a"}}'

    rejected = send(target, CLASSIFY, body, {name: wrong})
    others = [send(target, CLASSIFY, body, {name: right}).status for _ in range(3)]

    assert (rejected.status, others) == (status, [200] * 3)
    assert b"xylo" not in rejected.body


def test_metadata_over_the_limit(fake: tuple[Envoy, FakeServer]) -> None:
    """Metadata over the server's limit is an error of its gRPC, without details."""
    reply = send(fake[0].target, CLASSIFY, b"{}", {"x-long": "xylo" * 12_500})

    assert (reply.status, reply.json["code"], reply.json["details"]) == (429, 8, [])
    assert b"xylo" not in reply.body


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
