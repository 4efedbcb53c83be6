"""What both clients do: calls, options, batches, limits, retries, deadlines, readiness."""

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from classwire import (
    Classification,
    ClasswireError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    Reason,
    Text,
    Token,
    Unavailable,
    Unimplemented,
    UnknownModel,
    UnusableClient,
    _calls,
    _responses,
)
from classwire._readiness import Readiness
from classwire._requests import MAX_MESSAGE_BYTES
from classwire._session import Deadline
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

from .conftest import by_length

MakeClient = Callable[..., Any]


def rpc_error(code: grpc.StatusCode) -> grpc.RpcError:
    """An error as gRPC gives it."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "told so")


def test_classify(client: Any) -> None:
    """A text's scores, highest first, with all that stands beside them."""
    result = client.classify("four words are here")
    assert isinstance(result, Classification)
    assert result.label == "long"
    assert result.score == pytest.approx(18 / 19)
    assert [score.label for score in result.scores] == ["long", "short", "pair"]
    assert [score.label_id for score in result.scores] == [1, 0, 2]
    assert result.activation == "softmax"
    assert result.token_count == 4
    assert result.truncated_tokens == 0
    assert (result.logits, result.tokens) == ((), ())
    assert result.model.name == "fake"
    assert (result.model.precision, result.model.execution) == ("float32", "plain")
    assert result.model.layout == "packed"
    assert result.timing.batch_texts == 1


@pytest.mark.parametrize("arguments", [("a text", "a pair"), (Text("a text", "a pair"),)])
def test_classify_a_pair(client: Any, server: FakeServer, arguments: tuple[Any, ...]) -> None:
    """A pair is given as two arguments or as one Text."""
    assert client.classify(*arguments).scores[-1].label == "short"
    (request,) = server.requests
    assert isinstance(request, pb.ClassifyRequest)
    assert (request.input.text, request.input.text_pair) == ("a text", "a pair")


def test_a_pair_is_not_given_twice(client: Any) -> None:
    """Nobody has to guess which one counts."""
    with pytest.raises(TypeError, match="twice"):
        client.classify(Text("a", "b"), "c")


def test_every_option_goes_over_the_wire(client: Any, server: FakeServer) -> None:
    """As the contract's fields, in each of the three kinds of call."""
    options: dict[str, Any] = {
        "top_k": 2,
        "min_score": 0.5,
        "activation": "sigmoid",
        "truncation": "drop_start",
        "include_logits": True,
        "include_tokens": True,
        "offset_unit": "utf16",
        "priority": "bulk",
    }
    client.classify("text", model="fake", **options)
    client.classify_batch(["text"], model="fake", **options)
    list(client.classify_stream(["text"], model="fake", **options))
    expected = pb.ClassifyOptions(
        top_k=2,
        min_score=0.5,
        activation=pb.ACTIVATION_SIGMOID,
        truncation=pb.TRUNCATION_DROP_START,
        include_logits=True,
        include_tokens=True,
        offset_unit=pb.OFFSET_UNIT_UTF16,
        priority=pb.PRIORITY_BULK,
    )
    unary, batch, config = server.requests[:3]
    assert isinstance(config, pb.StreamClassifyRequest)
    for request in (unary, batch, config.config):
        assert not isinstance(request, (pb.StreamClassifyRequest, pb.TokenizeRequest))
        assert request.model == "fake"
        assert request.options == expected


def test_by_default_nothing_is_asked_for(client: Any, server: FakeServer) -> None:
    """The defaults are the server's; a min_score of 0 is not the same as none."""
    client.classify("text")
    client.classify("text", min_score=0.0)
    plain, zero = server.requests
    assert isinstance(plain, pb.ClassifyRequest)
    assert isinstance(zero, pb.ClassifyRequest)
    assert plain.options == pb.ClassifyOptions()
    assert zero.options.HasField("min_score")


def test_logits_and_tokens_come_when_asked_for(client: Any) -> None:
    """Logits in the order of the label ids; tokens with their spans."""
    result = client.classify("ab cd", include_logits=True, include_tokens=True)
    assert result.logits == pytest.approx((0.2, 0.8, 0.0))
    assert result.tokens[1] == Token(0, "cd", 3, 5, False, 0, 0)


def test_no_score_may_be_left(client: Any) -> None:
    """An empty answer is legal; asking it for its label says why there is none."""
    result = client.classify("text", min_score=0.99)
    assert result.scores == ()
    with pytest.raises(LookupError, match="min_score"):
        _ = result.label


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("activation", "relu", "softmax, sigmoid, identity"),
        ("truncation", "middle", "reject, drop_end, drop_start"),
        ("priority", "urgent", "interactive, bulk"),
        ("offset_unit", "bytes", "unicode, utf8, utf16"),
    ],
)
def test_an_unknown_word_lists_the_choices(
    client: Any, server: FakeServer, option: str, value: str, choices: str
) -> None:
    """A misspelled option is found before anything is sent."""
    with pytest.raises(InvalidInput, match=choices) as raised:
        client.classify("text", **{option: value})
    assert (raised.value.reason, raised.value.field) == (
        Reason.UNKNOWN_ENUM,
        f"options.{option}",
    )
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"top_k": -1}, InvalidInput),
        ({"top_k": 1.5}, TypeError),
        ({"min_score": "high"}, TypeError),
        ({"activation": 1}, TypeError),
        ({"topk": 1}, TypeError),
        ({"timeout_s": 0}, InvalidInput),
        ({"timeout_s": math.nan}, InvalidInput),
        ({"timeout_s": "soon"}, TypeError),
        ({"model": None}, TypeError),
        ({"model": "\ud800"}, InvalidInput),
    ],
)
def test_bad_options_are_refused(
    client: Any, server: FakeServer, options: dict[str, Any], error: type[Exception]
) -> None:
    """By class, before anything is sent."""
    with pytest.raises(error):
        client.classify("text", **options)
    assert not server.requests


@pytest.mark.parametrize("text", [None, b"text", 7, ["text"]])
def test_what_is_no_text_is_a_type_error(client: Any, text: Any) -> None:
    """The message says what was given."""
    with pytest.raises(TypeError, match=f"must be a str, not {type(text).__name__}"):
        client.classify(text)
    with pytest.raises(
        TypeError, match=rf"inputs\[1\].text must be a str, not {type(text).__name__}"
    ):
        client.classify_batch(["good", text])
    with pytest.raises(TypeError, match=f"must be a str, not {type(text).__name__}"):
        list(client.classify_stream(["good", text]))


@pytest.mark.parametrize("texts", ["text", b"text", Text("text"), None, 7])
def test_a_batch_or_stream_is_not_one_text(client: Any, texts: Any) -> None:
    """The characters of a string are not meant as texts."""
    with pytest.raises(TypeError):
        client.classify_batch(texts)
    with pytest.raises(TypeError):
        client.classify_stream(texts)


def test_half_a_character_is_named(client: Any, server: FakeServer) -> None:
    """An unpaired surrogate has no UTF-8: the error says where it stands, and not the text."""
    with pytest.raises(InvalidInput, match="unpaired surrogate at character 6") as raised:
        client.classify("secret\ud83d")
    assert (raised.value.reason, raised.value.field) == (Reason.BAD_ENCODING, "input.text")
    assert "secret" not in str(raised.value)
    assert raised.value.__context__ is None
    assert not server.requests


def test_a_batch_has_an_outcome_for_each_text(client: Any, server: FakeServer) -> None:
    """A bad text, found here or by the server, fails no neighbour; fields keep its index."""
    server.fail_text("long", Reason.TOO_MANY_TOKENS)
    outcomes = client.classify_batch(["\ud800", "good", Text("good", "\udfff"), "long", "good"])
    assert [isinstance(outcome, Classification) for outcome in outcomes] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert [outcomes[at].reason for at in (0, 2, 3)] == [
        Reason.BAD_ENCODING,
        Reason.BAD_ENCODING,
        Reason.TOO_MANY_TOKENS,
    ]
    assert [outcomes[at].field for at in (0, 2, 3)] == [
        "inputs[0].text",
        "inputs[2].text_pair",
        "inputs[3].text",
    ]


def test_a_batch_of_nothing_asks_nobody(client: Any, server: FakeServer) -> None:
    """No texts, or none that can be sent: no call."""
    assert client.classify_batch([]) == []
    assert len(client.classify_batch(["\ud800"])) == 1
    assert not server.requests


def test_a_large_batch_goes_in_several_calls(make_client: MakeClient) -> None:
    """As many as the server's limit asks for, in order, and the errors keep the caller's index."""
    with FakeServer(by_length, max_texts_per_call=4) as server:
        server.fail_text("bad", Reason.EMPTY_TEXT)
        client = make_client(server.target)
        texts = ["x" * length for length in range(1, 10)] + ["bad"]
        outcomes = client.classify_batch(iter(texts))
        assert [round(1 / outcome.scores[-2].score) for outcome in outcomes[2:9]] == [*range(3, 10)]
        assert outcomes[9].field == "inputs[9].text"
        sizes = [len(r.inputs) for r in server.requests if isinstance(r, pb.BatchClassifyRequest)]
        assert sizes == [4, 4, 2]


def test_a_batch_is_bounded_in_bytes(make_client: MakeClient) -> None:
    """Texts that no single message would hold go in several."""
    with FakeServer(["yes"]) as server:
        client = make_client(server.target)
        texts = ["x" * (MAX_MESSAGE_BYTES // 2)] * 5
        assert all(outcome.label == "yes" for outcome in client.classify_batch(texts))
        assert len(server.requests) == 5


def test_limits_that_changed_are_asked_for_again(make_client: MakeClient) -> None:
    """A server that took over with smaller limits refuses one batch, not all."""
    with FakeServer(["yes"], max_texts_per_call=4) as server:
        client = make_client(server.target)
        client.classify_batch(["text"] * 4)
        server.model.limits.max_texts_per_call = 2
        with pytest.raises(InvalidInput) as raised:
            client.classify_batch(["text"] * 4)
        assert raised.value.reason is Reason.TOO_MANY_ITEMS
        assert len(client.classify_batch(["text"] * 4)) == 4


def test_a_batch_fails_as_a_whole_when_its_call_does(client: Any, server: FakeServer) -> None:
    """A call's error is raised."""
    server.fail_next(Reason.OVERLOADED)
    with pytest.raises(ClasswireError) as raised:
        client.classify_batch(["text"])
    assert raised.value.reason is Reason.OVERLOADED


def test_tokenize(client: Any, server: FakeServer) -> None:
    """What the model would see of a text or pair."""
    seen = client.tokenize("one two", "three", truncation="drop_end", offset_unit="utf8")
    assert [token.text for token in seen.tokens] == ["one", "two", "three"]
    assert [token.sequence_index for token in seen.tokens] == [0, 0, 1]
    assert seen.attention_mask == (1, 1, 1)
    assert (seen.truncated_tokens, seen.model.name) == (0, "fake")
    (request,) = server.requests
    assert isinstance(request, pb.TokenizeRequest)
    assert request.truncation == pb.TRUNCATION_DROP_END
    assert request.offset_unit == pb.OFFSET_UNIT_UTF8


def test_models_and_server(client: Any) -> None:
    """What is served, and by what."""
    (model,) = client.models()
    assert model == client.model() == client.model("fake")
    assert (model.name, model.is_default, model.state) == ("fake", True, "ready")
    assert (model.problem_type, model.activation) == ("single_label_classification", "softmax")
    assert model.default_truncation == "reject"
    assert model.deviation is None
    assert model.limits.max_texts_per_call == 64
    info = client.server_info()
    assert info.version
    assert info.limits.default_timeout_s == 30


def test_models_over_several_pages() -> None:
    """All pages are one list."""
    steps = _calls.list_models()
    assert next(steps).request == pb.ListModelsRequest()
    first = pb.ListModelsResponse(models=[pb.Model(name="a")], next_page_token="more")
    assert steps.send(first).request == pb.ListModelsRequest(page_token="more")
    with pytest.raises(StopIteration) as done:
        steps.send(pb.ListModelsResponse(models=[pb.Model(name="b")]))
    assert [model.name for model in done.value.value] == ["a", "b"]


def test_a_batch_with_the_wrong_number_of_outcomes_is_found_out() -> None:
    """InternalError, instead of outcomes beside the wrong texts."""
    limits = _responses.model(pb.Model(limits=pb.ModelLimits(max_texts_per_call=8))).limits
    steps = _calls.classify_batch(["a", "b"], "", pb.ClassifyOptions(), {"": limits})
    next(steps)
    with pytest.raises(InternalError, match="1 outcomes for 2 texts"):
        steps.send(pb.BatchClassifyResponse(outcomes=[pb.Outcome()]))


def test_an_unknown_model(client: Any) -> None:
    """Has a class of its own, whatever asks for it."""
    for ask in (
        lambda: client.classify("text", model="other"),
        lambda: client.classify_batch(["text"], model="other"),
        lambda: list(client.classify_stream(["text"], model="other")),
        lambda: client.tokenize("text", model="other"),
        lambda: client.model("other"),
    ):
        with pytest.raises(UnknownModel):
            ask()


def test_metadata_of_client_and_call(make_client: MakeClient, server: FakeServer) -> None:
    """Both are sent, with every kind of call."""
    client = make_client(server.target, metadata=[("x-client", "1")])
    client.classify("text", metadata=[("x-call", "2")])
    client.classify_batch(["text"], metadata=[("x-call", "2")])
    list(client.classify_stream(["text"], metadata=[("x-call", "2")]))
    client.tokenize("text", metadata=[("x-call", "2")])
    assert [(c.metadata["x-client"], c.metadata["x-call"]) for c in server.calls] == [
        ("1", "2")
    ] * 4


def test_what_is_unavailable_is_tried_again(client: Any, server: FakeServer) -> None:
    """By gRPC, up to four times in all; the caller sees only the answer."""
    server.fail_next(Reason.LOADING, times=3)
    assert client.classify("text").label == "long"
    assert len(server.requests) == 4


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.INTERNAL, Reason.POISON_INPUT])
def test_nothing_else_is_tried_again(client: Any, server: FakeServer, reason: Reason) -> None:
    """One request, one error."""
    server.fail_next(reason)
    with pytest.raises(ClasswireError):
        client.classify("text")
    assert len(server.requests) == 1


def test_a_call_has_a_deadline(make_client: MakeClient, server: FakeServer) -> None:
    """Its own, or the client's."""
    server.hold()
    client = make_client(server.target, timeout_s=0.2)
    with pytest.raises(DeadlineExceeded):
        client.classify("text")
    with pytest.raises(TimeoutError):
        client.classify("text", timeout_s=0.1)
    with pytest.raises(DeadlineExceeded):
        client.classify_batch(["text"])
    server.release()
    assert client.classify("text", timeout_s=math.inf).label == "long"


def test_every_call_has_one_by_default(client: Any, server: FakeServer) -> None:
    """30 s, as the server sees it; a stream has an item timeout instead."""
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
    assert [config.item_timeout.ToMilliseconds() for config in configs] == [30_000, 1_500, 0]
    assert not configs[2].HasField("item_timeout")


def test_nobody_there(make_client: MakeClient) -> None:
    """An address where nobody listens: one clear error."""
    with FakeServer(["yes"]) as server:
        gone = server.target
    with pytest.raises(Unavailable, match="UNAVAILABLE: "):
        make_client(gone).classify("text")
    with pytest.raises(Unavailable) as raised:
        list(make_client(gone).classify_stream(["text"]))
    assert raised.value.unanswered == ()


def test_several_addresses_share_the_calls(make_client: MakeClient) -> None:
    """Round robin over a list of addresses."""
    with FakeServer(["one"]) as one, FakeServer(["two"]) as two:
        client = make_client([one.target, two.target])
        labels = set()
        for _ in range(200):  # the second connection may be a moment later than the first
            labels.add(client.classify("text").label)
            if len(labels) == 2:
                break
        assert labels == {"one", "two"}


def test_health(client: Any, server: FakeServer) -> None:
    """Of the server, and of a service that it does not have."""
    assert client.health() == "SERVING"
    assert client.health("nothing") == "SERVICE_UNKNOWN"
    server.set_serving(False)
    assert client.health() == "NOT_SERVING"


def test_wait_until_ready_waits_for_serving(make_client: MakeClient) -> None:
    """It returns once the server says so, and not before."""
    with FakeServer(["yes"]) as server:
        server.set_serving(False)
        client = make_client(server.target)
        with pytest.raises(DeadlineExceeded, match=r"not ready within 0\.2 s: it says NOT_SERVING"):
            client.wait_until_ready(0.2)
        serving = threading.Timer(0.1, server.set_serving, [True])
        serving.start()
        client.wait_until_ready(30)
        serving.join()


def test_wait_until_ready_waits_for_the_server(make_client: MakeClient, tmp_path: Path) -> None:
    """It may be called before anybody listens; a vain wait says that nobody answered."""
    target = f"unix:{tmp_path}/server.sock"
    client = make_client(target)
    with pytest.raises(DeadlineExceeded, match=r"not ready within 0\.2 s: nobody answers"):
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


def test_what_waiting_for_readiness_does_not_outwait() -> None:
    """UNAVAILABLE is waited out, for ever if asked; what waiting does not mend is raised."""
    readiness = Readiness("there", Deadline(None))
    readiness.failed(rpc_error(grpc.StatusCode.UNAVAILABLE))
    assert readiness.pause_s() > 0
    with pytest.raises(Unimplemented):
        readiness.failed(rpc_error(grpc.StatusCode.UNIMPLEMENTED))
    late = Readiness("there", Deadline(1e-9))
    late.heard(health_pb2.HealthCheckResponse(status="NOT_SERVING"))
    with pytest.raises(DeadlineExceeded, match="there was not ready within 1e-09 s: it says NOT"):
        late.failed(rpc_error(grpc.StatusCode.UNAVAILABLE))


def test_a_closed_client_says_so(make_client: MakeClient, server: FakeServer) -> None:
    """Every call of it does; closing again does nothing."""
    client = make_client(server.target)
    client.classify("text")
    client.close()
    client.close()
    for call in (client.classify, client.classify_batch, client.classify_stream):
        with pytest.raises(UnusableClient, match="closed"):
            call(["text"])


def test_a_forked_client_says_so(
    make_client: MakeClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRPC would hang in the child; the client names the two processes instead."""
    client = make_client(server.target)
    client.classify("text")
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(UnusableClient, match="does not survive a fork"):
            client.classify("text")
        with pytest.raises(UnusableClient):
            client.classify_stream(["text"])
    assert client.classify("text").label == "long"


def test_options_of_the_channel_win(make_client: MakeClient) -> None:
    """As here, a smaller limit of an answer's size, which is gRPC's own error."""
    with FakeServer(lambda text, pair: {"x" * 5000: 1.0}) as server:
        client = make_client(server.target, options=[("grpc.max_receive_message_length", 4000)])
        with pytest.raises(ClasswireError) as raised:
            client.classify("text")
    assert type(raised.value).__name__ == "MessageTooLarge"
    assert raised.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_credentials_and_compression_reach_grpc(
    make_client: MakeClient, server: FakeServer
) -> None:
    """A secured channel does not talk to an open server; a compressed request is understood."""
    secured = make_client(server.target, credentials=grpc.ssl_channel_credentials())
    with pytest.raises(Unavailable):
        secured.classify("text")
    assert not server.requests
    local = make_client(server.target, credentials=grpc.local_channel_credentials())
    assert local.classify("text").label == "long"
    packed = make_client(server.target, compression=grpc.Compression.Gzip)
    assert packed.classify("text").label == "long"
