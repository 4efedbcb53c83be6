"""The fake server does what its users' tests rely on."""

from collections.abc import Iterator

import pytest

from classwire import Client, InvalidInputError, Reason, TextInput
from classwire.testing import CODES, FakeServer
from classwire.v1 import classwire_pb2 as pb


@pytest.fixture
def connected() -> Iterator[tuple[FakeServer, Client]]:
    """A fake that answers with labels in turn, and a client of it."""
    with FakeServer(["good", "bad"]) as server, Client(server.target) as client:
        yield server, client


def test_labels_in_turn(connected: tuple[FakeServer, Client]) -> None:
    """One after the other, over and over, whatever the text and the kind of call."""
    _, client = connected
    labels = [client.classify("text").label for _ in range(3)]
    labels += [outcome.label for _, _, outcome in client.classify_stream(["a", "b"])]  # type: ignore[union-attr]
    assert labels == ["good", "bad", "good", "bad", "good"]
    assert client.model().labels == ("bad", "good")


def test_a_function_answers() -> None:
    """It is given the text and its pair."""

    def answer(text: str, text_pair: str | None) -> dict[str, float]:
        return {text: 0.75, text_pair or "no pair": 0.25}

    with FakeServer(answer) as server, Client(server.target) as client:
        assert [score.label for score in client.classify("a", "b").scores] == ["a", "b"]
        assert [score.label for score in client.classify("a").scores] == ["a", "no pair"]


def test_texts_that_fail(connected: tuple[FakeServer, Client]) -> None:
    """Every time, and only they; an empty text fails as on a real server."""
    server, client = connected
    server.fail_text("x", Reason.TOO_MANY_TOKENS)
    for _ in range(2):
        outcomes = client.classify_batch(["a", "x", " "])
        assert [getattr(outcome, "reason", None) for outcome in outcomes] == [
            None,
            Reason.TOO_MANY_TOKENS,
            Reason.EMPTY_TEXT,
        ]
    with pytest.raises(InvalidInputError) as raised:
        client.classify("x")
    assert raised.value.field == "input.text"


def test_requests_are_kept(connected: tuple[FakeServer, Client]) -> None:
    """As the contract's messages, in the order of arrival."""
    server, client = connected
    client.classify(TextInput("a", "b"))
    client.classify_batch(["c"])
    client.tokenize("d")
    list(client.classify_stream(["e"]))
    assert [type(request) for request in server.requests] == [
        pb.ClassifyRequest,
        pb.BatchClassifyRequest,
        pb.TokenizeRequest,
        pb.StreamClassifyRequest,
        pb.StreamClassifyRequest,
    ]


def test_every_reason_has_a_code() -> None:
    """So that any of them can be asked for."""
    assert set(CODES) == set(Reason)
