"""Texts longer than the model, read in windows: options, results, limits and retries."""

from collections.abc import Callable
from typing import Any

import pytest

from classwire import (
    Classification,
    InvalidInputError,
    ModelLimits,
    Reason,
    TextInput,
    TextWindow,
)
from classwire._calls import unary
from classwire._calls.retry import Deadline, Retry
from classwire._calls.steps import Call, Pause, Reply, retried
from classwire.testing import FakeServer
from classwire.testing.failures import Failure
from classwire.v1 import classwire_pb2 as pb

TEN_WORDS = "a1 a2 a3 a4 a5 a6 a7 a8 a9 ab"
OPTIONS: dict[str, Any] = {
    "truncation": "windows",
    "window_tokens": 4,
    "overlap_tokens": 0,
    "aggregation": "max_score",
    "include_windows": True,
}


def in_three_ways(client: Any, text: Any, **options: Any) -> list[Any]:
    """Return the classification of a text by a call, a batch and a stream."""
    return [
        client.classify(text, **options),
        *client.classify_batch([text], **options),
        *(result.outcome for result in client.classify_stream([text], **options)),
    ]


def test_every_option_goes_over_the_wire(client: Any, server: FakeServer) -> None:
    """Each option reaches the server as the contract's field, in every kind of call; an overlap of
    0 is sent.
    """
    in_three_ways(client, TEN_WORDS, **OPTIONS)
    unary, batch, config = server.requests[:3]
    windows = pb.WindowOptions(
        window_tokens=4, overlap_tokens=0, aggregation=pb.WINDOW_AGGREGATION_MAX_SCORE
    )
    expected = pb.ClassifyOptions(
        truncation=pb.TRUNCATION_WINDOWS, windows=windows, include_windows=True
    )
    assert isinstance(unary, pb.ClassifyRequest)
    assert isinstance(batch, pb.BatchClassifyRequest)
    assert isinstance(config, pb.StreamClassifyRequest)
    assert unary.options == batch.options == config.config.options == expected
    client.tokenize(TEN_WORDS, truncation="windows", window_tokens=4, overlap_tokens=0)
    tokenize = server.requests[-1]
    assert isinstance(tokenize, pb.TokenizeRequest)
    assert tokenize.windows == pb.WindowOptions(window_tokens=4, overlap_tokens=0)


def test_windows_come_with_places_and_scores(client: Any) -> None:
    """A long text's windows have their place in the text, tokens and the scores of all labels."""
    for result in in_three_ways(client, TEN_WORDS, **OPTIONS):
        assert (result.window_count, result.aggregation, result.token_count) == (
            3,
            "max_score",
            12,
        )
        first = result.windows[0]
        assert isinstance(first, TextWindow)
        assert [(each.start, each.end) for each in result.windows] == [(0, 11), (12, 23), (18, 29)]
        assert (first.sequence_index, first.token_count) == (0, 4)
        assert first.scores == pytest.approx((1 / 11, 10 / 11, 0))


@pytest.mark.parametrize("text", ["short", TextInput("short", "pair")])
def test_a_text_that_fits_has_one_window(client: Any, text: Any) -> None:
    """A text that fits has one window when asked for, and no aggregation."""
    for result in in_three_ways(client, text, truncation="windows", include_windows=True):
        assert (result.window_count, result.aggregation, len(result.windows)) == (1, None, 1)
    assert client.classify(text, truncation="windows").windows == ()


def test_tokenize_returns_the_tokens_of_all_windows(client: Any) -> None:
    """The tokens of the windows come one after the other; the windows say where each begins."""
    seen = client.tokenize(TEN_WORDS, truncation="windows", window_tokens=6)
    assert [(each.token_count, each.scores) for each in seen.windows] == [(6, ()), (6, ())]
    assert [token.text for token in seen.tokens] == [*TEN_WORDS.split()[:6], *TEN_WORDS.split()[4:]]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"window_tokens": 0}, "options.window_tokens"),
        ({"overlap_tokens": -1}, "options.overlap_tokens"),
        ({"aggregation": "median"}, "options.aggregation"),
        ({"include_windows": True}, "options.windows"),
        ({"window_tokens": 5}, "options.windows"),
    ],
)
def test_a_wrong_option_is_named(client: Any, options: dict[str, Any], field: str) -> None:
    """An option out of range is an error of the client; one without its truncation the server's."""
    with pytest.raises(InvalidInputError) as raised:
        client.classify("text", **options)
    assert raised.value.field == field


def test_an_old_server_says_that_it_is_old(client: Any, server: FakeServer) -> None:
    """The error for an enum value that the server does not know says that it is older."""
    server.fail_next(Reason.UNKNOWN_ENUM)
    with pytest.raises(InvalidInputError, match="older than this client"):
        client.classify("text", truncation="windows")


@pytest.mark.usefixtures("without_windows")
@pytest.mark.parametrize(
    "options",
    [
        {"include_windows": True},
        {"window_tokens": 4},
        {"overlap_tokens": 0},
        {"aggregation": "max_score"},
    ],
    ids=str,
)
def test_a_server_that_ignores_windows_is_named(client: Any, options: dict[str, Any]) -> None:
    """A server that is too old for windows ignores their options: its answer is an error, as that
    of a server that rejects them.
    """
    calls: list[Callable[..., Any]] = [
        lambda **options: client.classify(TEN_WORDS, **options),
        lambda **options: client.classify_batch([TEN_WORDS], **options),
        lambda **options: list(client.classify_stream([TEN_WORDS], **options)),
    ]
    if options.keys() & {"window_tokens", "overlap_tokens"}:
        calls.append(lambda **options: client.tokenize(TEN_WORDS, **options))
    for call in calls:
        with pytest.raises(
            InvalidInputError, match=r"older than this client: .* windows"
        ) as raised:
            call(**options)
        assert (raised.value.reason, raised.value.field) == (Reason.BAD_OPTION, "options.windows")
        assert call()


def test_a_model_has_limits_of_windows_and_tasks(client: Any, server: FakeServer) -> None:
    """A model says what it is made for, and the limits of windows; those of an old server are
    None.
    """
    model = client.model()
    assert model.tasks == ("classify", "rank", "zero_shot_classify")
    assert (model.limits.max_windows_per_text, model.limits.max_windows_per_call) == (64, 512)
    for name in ("text", "call"):
        server.model.limits.ClearField(f"max_windows_per_{name}")  # type: ignore[arg-type]
    server.model.limits.ClearField("max_texts_per_call_with_windows")
    server.model.ClearField("tasks")
    model = client.model()
    assert model.tasks == ()
    assert model.limits.max_windows_per_text is None
    assert model.limits.max_texts_per_call_with_windows is None


@pytest.mark.parametrize(
    ("limit", "options", "sizes"),
    [
        (2, {"include_windows": True}, [2, 1]),
        (2, {}, [3]),
        (0, {"include_windows": True}, [3]),
        (2, {"include_windows": True, "include_tokens": True}, [1, 1, 1]),
    ],
    ids=["with windows", "without", "old server", "with tokens too"],
)
def test_a_batch_keeps_to_the_limit_of_windows(
    make_client: Callable[..., Any], limit: int, options: dict[str, Any], sizes: list[int]
) -> None:
    """With `include_windows` a call has at most the server's number of texts for it."""
    with FakeServer(["yes"]) as server:
        server.model.limits.max_texts_per_call_with_windows = limit
        server.model.limits.max_texts_per_call_with_tokens = 1
        client = make_client(server.target)
        assert len(client.classify_batch(["text"] * 3, truncation="windows", **options)) == 3
    sent = [len(r.inputs) for r in server.requests if isinstance(r, pb.BatchClassifyRequest)]
    assert sent == sizes


def test_the_rest_of_a_batch_does_not_wait_longer_each_time() -> None:
    """Texts whose windows had no room in a call go in the next one almost when the server says,
    however many calls there are.
    """
    calls = 12
    limits = {"m": ModelLimits(64, 64, 1 << 20, 64, 64)}
    steps = unary.classify_batch(["text"] * calls, "m", pb.ClassifyOptions(), limits)
    actions = retried(steps, Retry(True, lambda: 1.0), Deadline(None))
    full = pb.Outcome(error=Failure(Reason.OVERLOADED, 0.001).item_error(""))
    answer = pb.Outcome(classification=pb.Classification(window_count=64))
    pauses = []
    action = next(actions)
    for left in range(calls, 1, -1):
        assert isinstance(action, Call)
        assert len(action.request.inputs) == left
        outcomes = [answer, *[full] * (left - 1)]
        action = actions.send(Reply(pb.BatchClassifyResponse(outcomes=outcomes)))
        assert isinstance(action, Pause)
        pauses.append(action.seconds)
        action = next(actions)
    with pytest.raises(StopIteration) as ended:
        actions.send(Reply(pb.BatchClassifyResponse(outcomes=[answer])))
    assert all(isinstance(outcome, Classification) for outcome in ended.value.value)
    assert pauses == [pytest.approx(0.002)] * (calls - 1)


def test_a_real_server_reads_a_long_text(
    make_client: Callable[..., Any], pairs_target: str
) -> None:
    """A call, a batch and a stream return the same windows, which `tokenize` lays alike."""
    client = make_client(pairs_target)
    text = "the room was clean, and the staff was rude; " * 100
    options: dict[str, Any] = {"truncation": "windows", "window_tokens": 128}
    seen = client.tokenize(text, model="nli", **options)
    places = [(window.start, window.end) for window in seen.windows]
    results = in_three_ways(client, text, model="nli", include_windows=True, **options)
    for result in results:
        assert result.window_count == len(places) > 5
        assert result.aggregation == "mean_logits"
        assert [(window.start, window.end) for window in result.windows] == places
        assert result.token_count == sum(window.token_count for window in seen.windows)
        assert all(sum(window.scores) == pytest.approx(1, abs=1e-5) for window in result.windows)
        assert result.scores == results[0].scores
    assert len(seen.tokens) == result.token_count


def test_a_batch_of_more_windows_than_a_call_goes_in_several(
    make_client: Callable[..., Any], pairs_target: str
) -> None:
    """Texts whose windows do not fit in a call with the others' go in a further call by
    themselves.
    """
    client = make_client(pairs_target)
    texts = [f"{number} good hotel, rude staff! " * 40 for number in range(12)]
    outcomes = client.classify_batch(texts, model="nli", truncation="windows", window_tokens=8)
    assert all(isinstance(outcome, Classification) for outcome in outcomes)
    limit = client.model("nli").limits.max_windows_per_call
    windows = sum(outcome.window_count for outcome in outcomes)
    assert windows > limit
    assert len({outcome.request_id for outcome in outcomes}) > 1
