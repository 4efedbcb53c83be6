"""Both clients against a real server with the embedded checkpoint."""

from collections.abc import Callable
from typing import Any

import pytest

from classwire import (
    Classification,
    InvalidInputError,
    Reason,
    StreamItem,
    TextInput,
    UnknownModelError,
)

MakeClient = Callable[..., Any]
LONG = "not so bad " * 300
TEXTS = [
    "I really love this book",
    "",
    "terrible \U0001f4a9",
    "\ud83d",
    LONG,
    "مرحبا بالعالم",
    "null \x00 inside",
]
REASONS = [
    None,
    Reason.EMPTY_TEXT,
    None,
    Reason.BAD_ENCODING,
    Reason.TOO_MANY_TOKENS,
    None,
    None,
]


@pytest.fixture
def live(make_client: MakeClient, target: str) -> Any:
    """Return a client of either kind, connected to the real server."""
    client = make_client(target)
    client.wait_until_ready(60)
    return client


def test_a_text_alone_in_a_batch_and_in_a_stream(live: Any) -> None:
    """A text has the same scores, and a bad one the same reason, in a call, a batch and a
    stream.
    """
    batch = live.classify_batch(TEXTS)
    stream = {result.id: result.outcome for result in live.classify_stream(TEXTS)}
    for index, (text, reason) in enumerate(zip(TEXTS, REASONS, strict=True)):
        if reason is None:
            alone = live.classify(text)
            for other in (batch[index], stream[str(index)]):
                assert isinstance(other, Classification)
                assert [score.label for score in other.scores] == [
                    score.label for score in alone.scores
                ]
                assert other.score == pytest.approx(alone.score, abs=1e-5)
                assert other.model == alone.model
                assert other.token_count == alone.token_count
        else:
            with pytest.raises(InvalidInputError) as raised:
                live.classify(text)
            assert raised.value.reason is reason
            assert raised.value.field == "input.text"
            for other in (batch[index], stream[str(index)]):
                assert isinstance(other, InvalidInputError)
                assert other.reason is reason
            assert batch[index].field == f"inputs[{index}].text"
            assert stream[str(index)].field == "input.text"


def test_all_that_can_be_asked_for(live: Any) -> None:
    """Every option takes effect, and every optional part of the result is there."""
    result = live.classify(
        "I love it \U0001f600 so much",
        top_k=2,
        activation="sigmoid",
        include_logits=True,
        include_tokens=True,
        offset_unit="utf8",
        priority="bulk",
    )
    assert len(result.scores) == 2
    assert result.activation == "sigmoid"
    assert len(result.logits) == 5
    assert len(result.tokens) == result.token_count
    assert result.tokens[0].special
    assert result.tokens[-2].end == len("I love it \U0001f600 so much".encode())
    assert result.timing.total_us > 0
    cut = live.classify(LONG, truncation="drop_end")
    assert cut.truncated_tokens > 0
    assert cut.token_count == live.model().max_tokens
    assert live.classify("text", min_score=1.0).scores == ()


def test_tokens_of_classify_and_tokenize_are_equal(live: Any) -> None:
    """The tokens of a classification equal those of `tokenize`, for pairs too."""
    seen = live.tokenize("a good book", "not bad")
    result = live.classify("a good book", "not bad", include_tokens=True)
    assert seen.tokens == result.tokens
    assert {token.sequence_index for token in seen.tokens} == {0, 1}
    assert seen.attention_mask == (1,) * len(seen.tokens)
    assert seen.model == result.model


def test_models_server_and_health(live: Any) -> None:
    """The client lists the models, the server and its health."""
    model = live.model()
    assert live.models() == [model]
    assert model.is_default
    assert model.state == "ready"
    assert model.labels == ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
    assert len(model.fingerprint) == 64
    assert live.classify("text").model.fingerprint == model.fingerprint
    assert live.server_info().version
    assert live.health() == "SERVING"
    assert live.health("classwire.v1.ClassifyService") == "SERVING"
    with pytest.raises(UnknownModelError):
        live.classify("text", model="another")


def test_a_batch_over_the_limit_and_a_long_stream(live: Any) -> None:
    """Batches over the limit and long streams return one outcome a text, in order."""
    limits = live.model().limits
    count = limits.max_texts_per_call + 10
    texts = [f"number {number}" for number in range(count)]
    outcomes = live.classify_batch(texts, top_k=1)
    assert len(outcomes) == count
    with_tokens = live.classify_batch(texts, top_k=1, include_tokens=True)
    assert len(with_tokens) == count
    items = [StreamItem(f"id-{number}", TextInput(text)) for number, text in enumerate(texts)]
    streamed = list(live.classify_stream(items, in_order=True, top_k=1))
    assert [result.id for result in streamed] == [item.id for item in items]
    for batched, (_, _, outcome) in zip(outcomes, streamed, strict=True):
        assert batched.label == outcome.label
        assert batched.score == pytest.approx(outcome.score, abs=1e-5)


def test_an_early_stop_leaves_the_server_well(live: Any) -> None:
    """After many abandoned streams the server answers the next call."""
    for _ in range(10):
        stream = live.classify_stream(f"text {number}" for number in range(10_000))
        next(stream)
        stream.close()
    assert live.classify("I really love this book").label
