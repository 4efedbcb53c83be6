"""What callers may do, on a server that asks who they are."""

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
    """The metadata of a call that shows a token."""
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="session")
def engine() -> Iterator[FakeEngine]:
    """Answers for both models of the shared server."""
    engine = FakeEngine()
    yield engine
    engine.release()


@pytest.fixture(scope="session")
def callers_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the shared server's callers."""
    path = tmp_path_factory.mktemp("callers") / "callers.toml"
    replace(path, callers_toml(CALLERS))
    return path


@pytest.fixture(scope="session")
def server(
    checkpoint: Callable[..., Path], engine: FakeEngine, callers_file: Path
) -> Iterator[Server]:
    """Two models, callers with tokens."""
    bert = checkpoint("bert")
    models = (f"first={bert}", f"second={bert}")
    config = ServerConfig(port=0, model=models, callers=str(callers_file), open_inference=True)
    with Server(config, engine.launch) as server:
        yield server


@pytest.fixture
def channel(server: Server, callers_file: Path) -> Iterator[grpc.Channel]:
    """A channel to the shared server, whose callers are as they should be."""
    replace(callers_file, callers_toml(CALLERS))
    with grpc.insecure_channel(server.target) as channel:
        yield channel


def classify(channel: grpc.Channel, token: str, text: str = "a text", model: str = "") -> Any:
    """Classify a text, as the caller whose token it is."""
    request = pb.ClassifyRequest(input=pb.TextInput(text=text), model=model)
    stub = ClassifyServiceStub(channel)
    return stub.Classify(request, timeout=PATIENCE_S, metadata=bearer(token))


def first_answer(channel: grpc.Channel, method: str, metadata: Any = ()) -> None:
    """Call any method with an empty message, and read until it answers."""
    call: Any = channel.stream_stream(method)
    responses = call(iter([b""]), timeout=PATIENCE_S, metadata=metadata)
    next(responses, None)
    responses.cancel()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_asks_who_calls(channel: grpc.Channel, method: str) -> None:
    """All of every service on the port, but for health; a method that is not there says no more."""
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
    """Whatever is wrong with them, the answer is the same."""
    method = "/classwire.v1.ClassifyService/Classify"
    assert refusal(lambda: first_answer(channel, method, metadata)) == BAD


def test_the_scheme_is_known_in_any_case(channel: grpc.Channel) -> None:
    """`bearer` is `Bearer`, as HTTP says."""
    response = ModelServiceStub(channel).GetServerInfo(
        pb.GetServerInfoRequest(), metadata=(("authorization", f"bearer {ALICE}"),)
    )
    assert response.version


def test_metadata_over_the_limit(channel: grpc.Channel) -> None:
    """Is refused by gRPC itself, on the connection that serves the next call."""
    stub = ModelServiceStub(channel)
    much = (*bearer(ALICE), ("x-much", "a" * 16_384))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=much, timeout=PATIENCE_S)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc_status.from_call(caught.value) is None
    some = (*bearer(ALICE), ("x-some", "a" * 15_000))
    assert stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=some, timeout=PATIENCE_S).version


def test_a_stranger_holds_no_thread(channel: grpc.Channel, engine: FakeEngine) -> None:
    """Calls that send no message, and whose token is bad, are refused before anything is read."""
    call: Any = channel.stream_unary("/classwire.v1.ClassifyService/Classify")
    never: Any = iter(lambda: engine._released.wait(PATIENCE_S) and b"", None)
    for _ in range(70):  # more than there are threads
        failure = call.future(never, metadata=bearer("rubbish")).exception(PATIENCE_S)
        assert failure_of(failure) == BAD


def test_the_models_of_a_caller(channel: grpc.Channel) -> None:
    """It sees those that it may use, and no trace of others; without a name it has to have the
    default one.
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
    """Its next call is told when to come back, and nothing of it is read; others are served."""
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


def test_texts_that_are_too_long_are_paid_for(channel: grpc.Channel, callers_file: Path) -> None:
    """They were tokenized as others are, whichever call brought them."""
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


def test_a_stream_over_its_rate_is_read_no_faster(
    server: Server, channel: grpc.Channel, callers_file: Path, engine: FakeEngine
) -> None:
    """No item of it fails: the next message waits. It ends at once when its token is taken away."""
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


def test_a_token_that_is_taken_away_ends_its_streams(
    channel: grpc.Channel, callers_file: Path, engine: FakeEngine
) -> None:
    """What was read is answered, then the stream ends; those of others go on, and so do those of a
    caller who has another token now as well.
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


def test_who_is_taken_out_watches_no_health(listen: Listen, callers_file: Path) -> None:
    """Where health asks who calls, a watch ends with its caller's token; another goes on."""
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


def test_reflection_and_health_as_they_are_set(listen: Listen, callers_file: Path) -> None:
    """Reflection can be opened, and health closed."""
    server = listen(callers=str(callers_file), open_health=False, open_reflection=True)
    with grpc.insecure_channel(server.target) as channel:
        for method in OPEN:
            assert refusal(lambda method=method: first_answer(channel, method)) == MISSING  # type: ignore[misc]
        first_answer(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


def test_callers_by_certificate(
    listen: Listen, tmp_path: Path, pair: Pair, authority: trustme.CA, ca: Path
) -> None:
    """By a name that TLS has verified, of the subject or beside it; one of no caller is not
    allowed. A token counts for more. Who is taken out of the file is not allowed any more.
    """
    file = tmp_path / "callers.toml"
    names = ("dave", "erin.example")
    entry = {"certificates": names, "models": ()}
    replace(file, callers_toml({"dave": entry, "alice": {"tokens": (ALICE,)}}))
    server = listen(**pair.settings, tls_client_ca=str(ca), callers=str(file))

    def models(leaf: trustme.LeafCert, token: str | None = None) -> list[str]:
        tls = Pair.at(tmp_path, leaf, "client").shown_to(ca)
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

    tls = Pair.at(tmp_path, dave, "client").shown_to(ca)
    with Client(server.target, tls=tls, retry=False) as client:
        assert client.models() == []
        replace(file, callers_toml({"alice": {"tokens": (ALICE,)}}))
        with pytest.raises(PermissionDeniedError):
            client.models()


@pytest.mark.parametrize("overload", OVERLOADS)
def test_certificates_are_asked_for_before_a_refusal(
    serve: Callable[..., Server],
    checkpoint: Callable[..., Path],
    engine: FakeEngine,
    tmp_path: Path,
    pair: Pair,
    authority: trustme.CA,
    ca: Path,
    overload: Callable[[Server], None],
) -> None:
    """Where all calls are refused, a caller hears so, and who is none hears only that."""
    file = tmp_path / "callers.toml"
    replace(file, callers_toml({"dave": {"certificates": ("dave",)}}))
    its = {**pair.settings, "tls_client_ca": str(ca), "callers": str(file)}
    server = serve(engine.launch, model=(str(checkpoint("bert")),), **its)
    overload(server)
    for name, error in (("dave", OverloadedError), ("frank", PermissionDeniedError)):
        tls = Pair.at(tmp_path, authority.issue_cert(common_name=name), name).shown_to(ca)
        with Client(server.target, tls=tls, retry=False) as client, pytest.raises(error):
            client.classify("a book", timeout_s=PATIENCE_S)
