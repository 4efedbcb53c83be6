"""The fake server does what its users' tests rely on."""

from collections.abc import Iterator

import pytest

from classwire import Client, DeadlineExceededError, InvalidInputError, Reason, TextInput
from classwire.testing import CODES, FakeServer
from classwire.v1 import classwire_pb2 as pb


@pytest.fixture
def connected() -> Iterator[tuple[FakeServer, Client]]:
    """Return a fake that answers with labels in turn, and a client of it."""
    with FakeServer(["good", "bad"]) as server, Client(server.target) as client:
        yield server, client


def test_labels_in_turn(connected: tuple[FakeServer, Client]) -> None:
    """Labels are given in turn, for any text and any kind of call."""
    _, client = connected
    labels = [client.classify("text").label for _ in range(3)]
    labels += [outcome.label for _, _, outcome in client.classify_stream(["a", "b"])]  # type: ignore[union-attr]
    assert labels == ["good", "bad", "good", "bad", "good"]
    assert client.model().labels == ("bad", "good")


def test_a_function_answers() -> None:
    """An answer function gets the text and its pair."""

    def answer(text: str, text_pair: str | None) -> dict[str, float]:
        return {text: 0.75, text_pair or "no pair": 0.25}

    with FakeServer(answer) as server, Client(server.target) as client:
        assert [score.label for score in client.classify("a", "b").scores] == ["a", "b"]
        assert [score.label for score in client.classify("a").scores] == ["a", "no pair"]


def test_texts_that_fail(connected: tuple[FakeServer, Client]) -> None:
    """Texts set to fail fail every time, and an empty text fails as on a real server."""
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
    """The fake keeps requests as messages of the contract, in the order of arrival."""
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
    """Every reason has a status code, so that a test can ask for any."""
    assert set(CODES) == set(Reason)


def test_a_text_fails_as_often_as_told(connected: tuple[FakeServer, Client]) -> None:
    """A text fails as often as set, also in `tokenize`; then the fake answers it."""
    server, client = connected
    server.fail_text("x", Reason.TOO_MANY_TOKENS, times=2)
    for ask in (client.tokenize, client.classify):
        with pytest.raises(InvalidInputError, match="TOO_MANY_TOKENS"):
            ask("x")
    assert client.classify("x").label == "good"
    assert len(client.tokenize("x").tokens) == 1


def test_next_calls_fail_and_models_do_not(connected: tuple[FakeServer, Client]) -> None:
    """`fail_next` fails calls and streams of texts, and no other method."""
    server, client = connected
    server.fail_next(Reason.BAD_OPTION, times=2)
    assert client.model().name == "fake"
    for ask in (lambda: client.classify("x"), lambda: list(client.classify_stream(["x"]))):
        with pytest.raises(InvalidInputError):
            ask()
    assert client.classify("x").label == "good"


def test_answers_are_held_back(connected: tuple[FakeServer, Client]) -> None:
    """The fake holds answers back until the test releases them."""
    server, client = connected
    server.hold()
    with pytest.raises(DeadlineExceededError):
        client.classify("x", timeout_s=0.1)
    server.release()
    assert client.classify("x").ok


def test_calls_are_kept(connected: tuple[FakeServer, Client]) -> None:
    """The fake keeps metadata and deadline of each call or stream of texts."""
    server, client = connected
    client.classify("a", metadata={"x-key": "value"}, timeout_s=60)
    list(client.classify_stream(["a", "b"]))
    first, second = server.calls
    assert first.metadata["x-key"] == "value"
    assert first.time_left_s is not None
    assert 0 < first.time_left_s <= 60
    assert second.time_left_s is None


def test_a_fake_without_labels() -> None:
    """A fake without labels is an error."""
    with pytest.raises(ValueError, match="at least one label"):
        FakeServer([])


def test_limits_hold_and_an_answer_takes_the_options() -> None:
    """A client sees the fake's limits, and the fake applies the options."""
    scores = {"a": 0.2, "b": 0.7, "c": 0.1}
    fake = FakeServer(
        lambda text, pair: scores,
        model="mine",
        max_tokens=7,
        max_texts_per_call=2,
        window_items=3,
        max_items_per_message=1,
    )
    with fake as server, Client(server.target) as client:
        model = client.model("mine")
        assert (model.max_tokens, model.limits and model.limits.stream_window_items) == (7, 3)
        client.classify_batch(["x"] * 3)
        list(client.classify_stream(["x"] * 2))
        best = client.classify("x", top_k=1, include_logits=True, include_tokens=True)
    sizes = [len(r.inputs) for r in server.requests if isinstance(r, pb.BatchClassifyRequest)]
    messages = [r for r in server.requests if isinstance(r, pb.StreamClassifyRequest)]
    assert (sizes, len(messages)) == ([2, 1], 3)
    assert ([s.label for s in best.scores], len(best.logits), len(best.tokens)) == (["b"], 3, 1)
