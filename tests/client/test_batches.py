"""Batches of both clients: one outcome a text, in as many calls as the limits require."""

from collections.abc import Callable
from typing import Any

import pytest

from classwire import (
    Classification,
    ClasswireError,
    InternalError,
    InvalidInputError,
    Reason,
    TextInput,
)
from classwire._calls import responses, unary
from classwire._calls.requests import MAX_MESSAGE_BYTES
from classwire._calls.steps import Reply
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

from .conftest import by_length

MakeClient = Callable[..., Any]


@pytest.mark.parametrize("texts", ["text", b"text", TextInput("text"), None, 7])
def test_a_batch_or_stream_is_not_one_text(client: Any, texts: Any) -> None:
    """A string in place of a list of texts is a TypeError, not a list of its characters."""
    with pytest.raises(TypeError):
        client.classify_batch(texts)
    with pytest.raises(TypeError):
        client.classify_stream(texts)


def test_a_batch_has_an_outcome_for_each_text(client: Any, server: FakeServer) -> None:
    """An invalid text fails alone, whether client or server rejects it; errors hold its index."""
    server.fail_text("long", Reason.TOO_MANY_TOKENS)
    outcomes = client.classify_batch(
        ["\ud800", "good", TextInput("good", "\udfff"), "long", "good"]
    )
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


def test_an_empty_batch_makes_no_call(client: Any, server: FakeServer) -> None:
    """A batch without a text to send makes no call."""
    assert client.classify_batch([]) == []
    assert len(client.classify_batch(["\ud800"])) == 1
    assert not server.requests


def test_a_large_batch_goes_in_several_calls(make_client: MakeClient) -> None:
    """The client splits a batch by the server's limit, and keeps order and the caller's indices."""
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
    """Texts that together exceed the message limit go in several messages."""
    with FakeServer(["yes"]) as server:
        client = make_client(server.target)
        texts = ["x" * (MAX_MESSAGE_BYTES // 2)] * 5
        assert all(outcome.label == "yes" for outcome in client.classify_batch(texts))
        assert len(server.requests) == 5


def test_changed_limits_are_fetched_again(make_client: MakeClient) -> None:
    """When a new server has smaller limits, one batch fails, and the next uses the new limits."""
    with FakeServer(["yes"], max_texts_per_call=4) as server:
        client = make_client(server.target)
        client.classify_batch(["text"] * 4)
        server.model.limits.max_texts_per_call = 2
        with pytest.raises(InvalidInputError) as raised:
            client.classify_batch(["text"] * 4)
        assert raised.value.reason is Reason.TOO_MANY_ITEMS
        assert len(client.classify_batch(["text"] * 4)) == 4


def test_a_batch_fails_as_a_whole_when_its_call_does(client: Any, server: FakeServer) -> None:
    """When the call of a batch fails, the client raises its error."""
    server.fail_next(Reason.OVERLOADED)
    with pytest.raises(ClasswireError) as raised:
        client.classify_batch(["text"])
    assert raised.value.reason is Reason.OVERLOADED


def test_a_batch_with_the_wrong_number_of_outcomes_is_found_out() -> None:
    """A response with the wrong number of outcomes raises InternalError."""
    limits = responses.model(pb.Model(limits=pb.ModelLimits(max_texts_per_call=8))).limits
    assert limits is not None
    steps = unary.classify_batch(["a", "b"], "", pb.ClassifyOptions(), {"": limits})
    next(steps)
    with pytest.raises(InternalError, match="1 outcomes for 2 texts"):
        steps.send(Reply(pb.BatchClassifyResponse(outcomes=[pb.Outcome()])))
