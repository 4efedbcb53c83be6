"""Calls of both clients: scores, options, tokens, models."""

import math
from typing import Any

import pytest

from classwire import (
    Classification,
    InvalidInputError,
    Reason,
    TextInput,
    Token,
    UnknownModelError,
)
from classwire._calls import unary
from classwire._calls.steps import Call, Reply
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb


def test_classify(client: Any) -> None:
    """`classify` returns a text's scores, highest first, and all other fields of the result."""
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


@pytest.mark.parametrize("arguments", [("a text", "a pair"), (TextInput("a text", "a pair"),)])
def test_classify_a_pair(client: Any, server: FakeServer, arguments: tuple[Any, ...]) -> None:
    """A pair is given as two arguments or as one Text."""
    assert client.classify(*arguments).scores[-1].label == "short"
    (request,) = server.requests
    assert isinstance(request, pb.ClassifyRequest)
    assert (request.input.text, request.input.text_pair) == ("a text", "a pair")


def test_a_pair_is_not_given_twice(client: Any) -> None:
    """A pair given in both ways is an error."""
    with pytest.raises(TypeError, match="twice"):
        client.classify(TextInput("a", "b"), "c")


def test_every_option_goes_over_the_wire(client: Any, server: FakeServer) -> None:
    """Each option reaches the server as the contract's field, in all three kinds of call."""
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
    """Without options the request holds no fields; a min_score of 0 is sent."""
    client.classify("text")
    client.classify("text", min_score=0.0)
    plain, zero = server.requests
    assert isinstance(plain, pb.ClassifyRequest)
    assert isinstance(zero, pb.ClassifyRequest)
    assert plain.options == pb.ClassifyOptions()
    assert zero.options.HasField("min_score")


def test_logits_and_tokens_come_when_asked_for(client: Any) -> None:
    """Logits come in the order of the label ids; tokens come with their spans."""
    result = client.classify("ab cd", include_logits=True, include_tokens=True)
    assert result.logits == pytest.approx((0.2, 0.8, 0.0))
    assert result.tokens[1] == Token(0, "cd", 3, 5, False, 0, 0)


def test_no_score_may_be_left(client: Any) -> None:
    """A classification without scores is valid; its label and score are None."""
    result = client.classify("text", min_score=0.99)
    assert (result.scores, result.label, result.score) == ((), None, None)


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("activation", "relu", "softmax, sigmoid, identity"),
        ("truncation", "middle", "reject, drop_end, drop_start"),
        ("priority", "urgent", "interactive, bulk"),
        ("offset_unit", "bytes", "unicode, utf8, utf16"),
    ],
)
def test_a_misspelled_option_lists_the_choices(
    client: Any, server: FakeServer, option: str, value: str, choices: str
) -> None:
    """A misspelled option raises an error that lists the choices, before the client sends
    anything.
    """
    with pytest.raises(InvalidInputError, match=choices) as raised:
        client.classify("text", **{option: value})
    assert (raised.value.reason, raised.value.field) == (
        Reason.UNKNOWN_ENUM,
        f"options.{option}",
    )
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"top_k": -1}, InvalidInputError),
        ({"top_k": 0}, InvalidInputError),
        ({"top_k": 1.5}, TypeError),
        ({"min_score": "high"}, TypeError),
        ({"activation": 1}, TypeError),
        ({"timeout_s": 0}, InvalidInputError),
        ({"timeout_s": math.nan}, InvalidInputError),
        ({"timeout_s": "soon"}, TypeError),
        ({"model": 1}, TypeError),
        ({"model": "\ud800"}, InvalidInputError),
    ],
)
def test_bad_options_are_rejected(
    client: Any, server: FakeServer, options: dict[str, Any], error: type[Exception]
) -> None:
    """The client rejects invalid options before it sends anything."""
    with pytest.raises(error):
        client.classify("text", **options)
    assert not server.requests


@pytest.mark.parametrize(
    ("call", "given", "said"),
    [
        ("classify", ("text",), "classify has no option 'topk'; did you mean 'top_k'?"),
        ("rank", ("query", ["text"]), "rank has no option 'topk'; did you mean 'top_k'?"),
        ("zero_shot", ("text", ["a"]), "zero_shot has no option 'topk'; did you mean 'top_k'?"),
    ],
)
def test_an_unknown_option_is_named(
    client: Any, server: FakeServer, call: str, given: tuple[Any, ...], said: str
) -> None:
    """The error of an unknown option has the call's name and the option that is most similar."""
    with pytest.raises(TypeError) as error:
        getattr(client, call)(*given, topk=1)
    assert str(error.value) == said
    assert not server.requests


@pytest.mark.parametrize("text", [None, b"text", 7, ["text"]])
def test_other_types_than_text_are_a_type_error(client: Any, text: Any) -> None:
    """A call with a value that is not a text is a TypeError that names the given type."""
    for method in (client.classify, client.tokenize):
        with pytest.raises(TypeError, match=f"must be a str, not {type(text).__name__}"):
            method(text)


def test_an_unpaired_surrogate_is_named(client: Any, server: FakeServer) -> None:
    """For an unpaired surrogate the error holds its position, and not the text."""
    with pytest.raises(InvalidInputError, match="unpaired surrogate at character 6") as raised:
        client.classify("secret\ud83d")
    assert (raised.value.reason, raised.value.field) == (Reason.BAD_ENCODING, "input.text")
    assert "secret" not in str(raised.value)
    assert raised.value.__context__ is None
    assert not server.requests


def test_tokenize(client: Any, server: FakeServer) -> None:
    """`tokenize` returns the tokens that the model gets for a text or pair."""
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
    """`models` and `server_info` describe the models and the server."""
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
    """`models` joins all pages into one list."""
    steps = unary.list_models()
    assert next(steps) == Call("models", "ListModels", pb.ListModelsRequest())
    first = pb.ListModelsResponse(models=[pb.Model(name="a")], next_page_token="more")
    more = pb.ListModelsRequest(page_token="more")
    assert steps.send(Reply(first)) == Call("models", "ListModels", more)
    with pytest.raises(StopIteration) as done:
        steps.send(Reply(pb.ListModelsResponse(models=[pb.Model(name="b")])))
    assert [model.name for model in done.value.value] == ["a", "b"]


def test_an_unknown_model(client: Any) -> None:
    """Every method raises UnknownModelError for an unknown model."""
    for ask in (
        lambda: client.classify("text", model="other"),
        lambda: client.classify_batch(["text"], model="other"),
        lambda: list(client.classify_stream(["text"], model="other")),
        lambda: client.tokenize("text", model="other"),
        lambda: client.model("other"),
    ):
        with pytest.raises(UnknownModelError):
            ask()
