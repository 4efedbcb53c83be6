"""Calls to a server with callers: authentication, rights and rate limits."""

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from classwire import Client, OverloadedError, PermissionDeniedError, Reason, UnauthenticatedError
from classwire.contract.tokens import new_token
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.failures import Failure, failure_of, refusal
from tests.contract.overloads import OVERLOADS
from tests.security.conftest import Listen
from tests.security.files import Pair, callers_toml, replace

MISSING = Failure(grpc.StatusCode.UNAUTHENTICATED, "MISSING_CREDENTIALS")
BAD = Failure(grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
RATE_LIMITED = Failure(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "RATE_LIMITED",
    metadata={"text_tokens_per_s": "1"},
    can_retry_later=True,
)
UNKNOWN = grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"

ALICE, BOB, CAROL, DAVE = map(new_token, ("alice", "bob", "carol", "dave"))
CALLERS: Mapping[str, Mapping[str, Any]] = {
    "alice": {"tokens": (ALICE,)},
    "bob": {"tokens": (BOB,), "models": ("second",)},
    "carol": {"tokens": (CAROL,), "text_tokens_per_s": 1},
}
OPEN = {
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
}
METHODS = [
    f"/{service.full_name}/{method.name}"
    for file in (pb, oip, health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def bearer(token: str) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata of a call with this token."""
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="session")
def engine() -> Iterator[FakeEngine]:
    """The engine of both models of the shared server."""
    engine = FakeEngine()
    yield engine
    engine.release()


@pytest.fixture(scope="session")
def callers_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The callers file of the shared server."""
    path = tmp_path_factory.mktemp("callers") / "callers.toml"
    replace(path, callers_toml(CALLERS))
    return path


@pytest.fixture(scope="session")
def server(
    checkpoint: Callable[..., Path], engine: FakeEngine, callers_file: Path
) -> Iterator[Server]:
    """A shared server with two models, and callers with tokens."""
    bert = checkpoint("bert")
    models = (f"first={bert}", f"second={bert}")
    config = ServerConfig(port=0, model=models, callers=str(callers_file), open_inference=True)
    with Server(config, engine.launch) as server:
        yield server


@pytest.fixture
def channel(server: Server, callers_file: Path) -> Iterator[grpc.Channel]:
    """A channel to the shared server, with its callers file restored."""
    replace(callers_file, callers_toml(CALLERS))
    with grpc.insecure_channel(server.target) as channel:
        yield channel


def classify(channel: grpc.Channel, token: str, text: str = "a text", model: str = "") -> Any:
    """Classify a text with this token."""
    request = pb.ClassifyRequest(input=pb.TextInput(text=text), model=model)
    stub = ClassifyServiceStub(channel)
    return stub.Classify(request, timeout=PATIENCE_S, metadata=bearer(token))


def first_answer(channel: grpc.Channel, method: str, metadata: Any = ()) -> None:
    """Call any method with an empty message, and read its first response."""
    call: Any = channel.stream_stream(method)
    responses = call(iter([b""]), timeout=PATIENCE_S, metadata=metadata)
    next(responses, None)
    responses.cancel()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_needs_credentials(channel: grpc.Channel, method: str) -> None:
    """Every method of every service needs them except health, and so do unknown methods."""
    if method in OPEN:
        first_answer(channel, method)
    else:
        assert refusal(lambda: first_answer(channel, method)) == MISSING
        assert refusal(lambda: first_answer(channel, f"{method}2")) == MISSING


@pytest.mark.parametrize(
    "metadata",
    [
        bearer(new_token("alice")),
        bearer(new_token("nobody")),
        bearer("rubbish"),
        bearer(""),
        [("authorization", ALICE)],
        [("authorization", f"Basic {ALICE}")],
        [*bearer(ALICE), *bearer(ALICE)],
        [("authorization", "")],
    ],
    ids=["wrong", "nobody's", "rubbish", "empty", "no scheme", "another scheme", "two", "nothing"],
)
def test_bad_credentials(channel: grpc.Channel, metadata: Any) -> None:
    """The error is the same for every kind of bad credentials."""
    method = "/classwire.v1.ClassifyService/Classify"
    assert refusal(lambda: first_answer(channel, method, metadata)) == BAD


def test_the_scheme_ignores_case(channel: grpc.Channel) -> None:
    """`bearer` means `Bearer`, as HTTP requires."""
    response = ModelServiceStub(channel).GetServerInfo(
        pb.GetServerInfoRequest(), metadata=(("authorization", f"bearer {ALICE}"),)
    )
    assert response.version


def test_metadata_over_the_limit(channel: grpc.Channel) -> None:
    """A call over the limit is rejected by gRPC itself. The connection serves the next one."""
    stub = ModelServiceStub(channel)
    much = (*bearer(ALICE), ("x-much", "a" * 16_384))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=much, timeout=PATIENCE_S)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc_status.from_call(caught.value) is None
    some = (*bearer(ALICE), ("x-some", "a" * 15_000))
    assert stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=some, timeout=PATIENCE_S).version


def test_a_stranger_holds_no_thread(channel: grpc.Channel) -> None:
    """The server rejects calls with a bad token without waiting for their message."""
    call: Any = channel.stream_unary("/classwire.v1.ClassifyService/Classify")
    over = threading.Event()

    def silence() -> Iterator[bytes]:
        over.wait(PATIENCE_S)
        yield from ()

    try:
        for _ in range(70):  # more than there are threads
            failure = call.future(silence(), metadata=bearer("rubbish")).exception(PATIENCE_S)
            assert failure_of(failure) == BAD
    finally:
        over.set()


def test_the_models_of_a_caller(channel: grpc.Channel) -> None:
    """A caller sees only the models that it may use. A call without a model name needs the right
    to the default model.
    """
    models = ModelServiceStub(channel)

    def names(token: str) -> list[str]:
        response = models.ListModels(pb.ListModelsRequest(), metadata=bearer(token))
        return [model.name for model in response.models]

    assert names(ALICE) == ["first", "second"]
    assert names(BOB) == ["second"]
    assert classify(channel, BOB, model="second").result.scores
    for name in ("first", "", "third"):
        failure = refusal(lambda name=name: classify(channel, BOB, model=name))  # type: ignore[misc]
        assert (failure.code, failure.reason, failure.field) == (*UNKNOWN, "model")
        assert failure.message == "no model of that name; there is second"
        request = pb.GetModelRequest(name=name)
        failure = refusal(lambda: models.GetModel(request, metadata=bearer(BOB)))  # noqa: B023
        assert (failure.code, failure.reason) == UNKNOWN
        stream = Conversation(channel, metadata=bearer(BOB), model=name)
        assert (refusal(stream.read).code, refusal(stream.read).reason) == UNKNOWN


def test_a_caller_over_its_rate(channel: grpc.Channel, engine: FakeEngine) -> None:
    """Its next call gets RATE_LIMITED with a retry time and is not read. Others are served."""
    assert classify(channel, CAROL, "some words of a text").result.scores
    stub = ClassifyServiceStub(channel)
    texts = [pb.TextInput(text="not to be seen")]
    for call in (
        lambda: classify(channel, CAROL, "not to be seen"),
        lambda: stub.BatchClassify(
            pb.BatchClassifyRequest(inputs=texts), metadata=bearer(CAROL), timeout=PATIENCE_S
        ),
        lambda: stub.Tokenize(
            pb.TokenizeRequest(input=texts[0]), metadata=bearer(CAROL), timeout=PATIENCE_S
        ),
    ):
        failure = refusal(call)
        assert failure == RATE_LIMITED
        assert 0 < failure.retry_after_s < 60
    assert "not to be seen" not in engine.texts
    assert classify(channel, ALICE).result.scores


def test_texts_that_are_too_long_count(channel: grpc.Channel, callers_file: Path) -> None:
    """Texts with too many tokens are charged too, in every kind of call."""
    stub = ClassifyServiceStub(channel)
    text = pb.TextInput(text="a " * 511)
    asked: dict[str, Any] = {
        "classify": lambda how: stub.Classify(pb.ClassifyRequest(input=text), **how),
        "batch": lambda how: stub.BatchClassify(pb.BatchClassifyRequest(inputs=[text]), **how),
        "tokenize": lambda how: stub.Tokenize(pb.TokenizeRequest(input=text), **how),
    }
    tokens = {name: new_token(name) for name in asked}
    replace(
        callers_file,
        callers_toml(
            {name: {"tokens": (token,), "text_tokens_per_s": 1} for name, token in tokens.items()}
        ),
    )
    for name, ask in asked.items():
        how = {"metadata": bearer(tokens[name]), "timeout": PATIENCE_S}
        if name == "batch":
            assert ask(how).outcomes[0].error.reason == "TOO_MANY_TOKENS"
        else:
            assert refusal(partial(ask, how)).reason == "TOO_MANY_TOKENS"
        assert refusal(partial(ask, how)) == RATE_LIMITED


def retry_after_s(
    channel: grpc.Channel, callers_file: Path, name: str, ask: Callable[[Any], Any]
) -> float:
    """How long a new caller of one token per second must wait after this call, in seconds."""
    token = new_token(name)
    caller = {"tokens": (token,), "text_tokens_per_s": 1}
    replace(callers_file, callers_toml({**CALLERS, name: caller}))
    ask({"metadata": bearer(token), "timeout": PATIENCE_S})
    failure = refusal(lambda: classify(channel, token))
    assert failure.reason == "RATE_LIMITED"
    return failure.retry_after_s


def test_a_window_pays_by_its_tokens(channel: grpc.Channel, callers_file: Path) -> None:
    """A text in windows is charged the tokens of all windows, with an overlap of half twice its
    own, by Classify and Rank.
    """
    stub = ClassifyServiceStub(channel)
    options: dict[str, Any] = {"truncation": pb.TRUNCATION_WINDOWS}
    windows = pb.WindowOptions(window_tokens=102, overlap_tokens=50)
    text = "a " * 1_000
    message = pb.ClassifyRequest(
        input=pb.TextInput(text=text), options=pb.ClassifyOptions(**options, windows=windows)
    )
    documents = pb.RankRequest(
        query="a",
        documents=[text],
        options=pb.RankOptions(label="1 star", **options, windows=windows),
    )

    waits_s = [
        retry_after_s(channel, callers_file, "erin", lambda how: stub.Classify(message, **how)),
        retry_after_s(channel, callers_file, "frank", lambda how: stub.Rank(documents, **how)),
    ]

    assert all(1_500 < wait_s < 2_500 for wait_s in waits_s), waits_s


def test_texts_of_a_call_with_too_many_windows_count(
    channel: grpc.Channel, callers_file: Path
) -> None:
    """A call that is rejected for its windows is charged the tokens that were made for it."""
    stub = ClassifyServiceStub(channel)
    options: dict[str, Any] = {
        "truncation": pb.TRUNCATION_WINDOWS,
        "windows": pb.WindowOptions(window_tokens=24, overlap_tokens=0),
    }
    text = "a " * 800
    rank = pb.RankRequest(
        query="a", documents=[text] * 20, options=pb.RankOptions(label="1 star", **options)
    )

    def rejected(how: Any) -> None:
        assert refusal(lambda: stub.Rank(rank, **how)).reason == "TOO_MANY_ITEMS"

    assert retry_after_s(channel, callers_file, "grace", rejected) > 10_000


def test_a_stream_over_its_rate(
    server: Server, channel: grpc.Channel, callers_file: Path, engine: FakeEngine
) -> None:
    """No item fails: the next message waits. If its token is revoked, the stream ends at once."""
    dave = {"tokens": (DAVE,), "text_tokens_per_s": 1}
    replace(callers_file, callers_toml({**CALLERS, "dave": dave}))
    stream = Conversation(channel, metadata=bearer(DAVE))
    stream.read_started()
    stream.send_items(item("a", "many words " * 40))
    assert stream.read_results(1)[0].outcome.classification.scores
    stream.send_items(item("b", "a text that has to wait"))

    replace(callers_file, callers_toml(CALLERS))

    assert refusal(stream.read) == BAD
    assert "a text that has to wait" not in engine.texts


def test_a_revoked_token_ends_its_streams(
    channel: grpc.Channel, callers_file: Path, engine: FakeEngine
) -> None:
    """The server answers what it has read, then ends the stream. Streams of other callers go on,
    as do those of a caller who gets a second token.
    """
    hers, his = (
        Conversation(channel, metadata=bearer(ALICE)),
        Conversation(channel, metadata=bearer(BOB), model="second"),
    )
    for stream in (hers, his):
        stream.read_started()
    his.send_items(item("a", "slow"))
    engine.wait_for(lambda engine: "slow" in engine.texts)

    more = (ALICE, new_token("alice"))
    replace(callers_file, callers_toml({"alice": {"tokens": more}}))

    assert refusal(lambda: classify(channel, BOB, model="second")) == BAD
    engine.release()
    assert [result.id for result in his.read_results(1)] == ["a"]
    assert refusal(his.read) == BAD
    hers.send_items(item("b", "a text"))
    assert [result.id for result in hers.read_results(1)] == ["b"]
    hers.half_close()
    assert hers.read_to_end() == []


def test_a_revoked_token_ends_its_health_watch(listen: Listen, callers_file: Path) -> None:
    """If health needs credentials, a watch ends when its token is revoked. Others go on."""
    replace(callers_file, callers_toml(CALLERS))
    server = listen(callers=str(callers_file), open_health=False)
    with grpc.insecure_channel(server.target) as channel:
        stub: Any = HealthStub(channel)
        hers, his = (
            stub.Watch(health_pb2.HealthCheckRequest(), metadata=bearer(token), timeout=PATIENCE_S)
            for token in (ALICE, BOB)
        )
        assert next(hers).status == next(his).status

        replace(callers_file, callers_toml({"alice": {"tokens": (ALICE,)}}))

        with pytest.raises(grpc.RpcError):
            next(his)
        assert his.code() is grpc.StatusCode.CANCELLED
        assert hers.is_active()


def test_open_reflection_and_closed_health(listen: Listen, callers_file: Path) -> None:
    """--open-reflection and --no-open-health take effect."""
    server = listen(callers=str(callers_file), open_health=False, open_reflection=True)
    with grpc.insecure_channel(server.target) as channel:
        for method in OPEN:
            assert refusal(lambda method=method: first_answer(channel, method)) == MISSING  # type: ignore[misc]
        first_answer(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


def test_callers_by_certificate(
    listen: Listen, tmp_path: Path, pair: Pair, authority: trustme.CA, ca: Path
) -> None:
    """A caller is known by a verified common or alternative name. A token takes precedence.
    Certificates without a caller, or of a removed one, get NOT_ALLOWED.
    """
    file = tmp_path / "callers.toml"
    names = ("dave", "erin.example")
    entry = {"certificates": names, "models": ()}
    replace(file, callers_toml({"dave": entry, "alice": {"tokens": (ALICE,)}}))
    server = listen(**pair.settings, tls_client_ca=str(ca), callers=str(file))

    def models(leaf: trustme.LeafCert, token: str | None = None) -> list[str]:
        tls = Pair.at(tmp_path, leaf, "client").client_tls(ca)
        with Client(server.target, tls=tls, token=token, retry=False) as client:
            return [model.name for model in client.models()]

    dave = authority.issue_cert(common_name="dave")
    assert models(dave) == models(authority.issue_cert("erin.example")) == []
    assert models(dave, ALICE) == ["stars-en"]
    with pytest.raises(UnauthenticatedError, match="not known"):
        models(dave, new_token("alice"))
    for other in (
        authority.issue_cert("frank.example"),
        authority.issue_cert(common_name="dave\0.frank.example"),
    ):
        with pytest.raises(PermissionDeniedError, match="not that of a caller") as refused:
            models(other)
        assert refused.value.reason is Reason.NOT_ALLOWED

    tls = Pair.at(tmp_path, dave, "client").client_tls(ca)
    with Client(server.target, tls=tls, retry=False) as client:
        assert client.models() == []
        replace(file, callers_toml({"alice": {"tokens": (ALICE,)}}))
        with pytest.raises(PermissionDeniedError):
            client.models()


@pytest.mark.parametrize("overload", OVERLOADS)
def test_authentication_comes_before_overload(
    serve: Callable[..., Server],
    checkpoint: Callable[..., Path],
    engine: FakeEngine,
    tmp_path: Path,
    pair: Pair,
    authority: trustme.CA,
    ca: Path,
    overload: Callable[[Server], None],
) -> None:
    """An overloaded server tells only known callers that it is overloaded."""
    file = tmp_path / "callers.toml"
    replace(file, callers_toml({"dave": {"certificates": ("dave",)}}))
    its = {**pair.settings, "tls_client_ca": str(ca), "callers": str(file)}
    server = serve(engine.launch, model=(str(checkpoint("bert")),), **its)
    overload(server)
    for name, error in (("dave", OverloadedError), ("frank", PermissionDeniedError)):
        tls = Pair.at(tmp_path, authority.issue_cert(common_name=name), name).client_tls(ca)
        with Client(server.target, tls=tls, retry=False) as client, pytest.raises(error):
            client.classify("a book", timeout_s=PATIENCE_S)
