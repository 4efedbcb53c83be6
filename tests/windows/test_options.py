"""What the options of windows do, and which of them are errors, by every kind of call."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.service import tokens as tokens_of_answers
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import Failure, invalid, item_failure, refusal
from tests.windows.conftest import MAX_TEXTS, MAX_WINDOWS

WORDS = "xylomancy love book hotel room clean cold staff rude good bad "
IN_FORCE: dict[str, Any] = {"truncation": pb.TRUNCATION_WINDOWS}
INPUT = pb.TextInput(text=WORDS)


def windows(**options: Any) -> dict[str, Any]:
    """Options with windows in force."""
    return IN_FORCE | {"windows": pb.WindowOptions(**options)}


def words(count: int) -> str:
    """A text with a number of tokens for the tiny BERT, special tokens not counted."""
    return " ".join(["love"] * count)


def read_stream(channel: grpc.Channel, options: pb.ClassifyOptions) -> object:
    """The first message of a stream."""
    with Conversation(channel, options=options) as stream:
        return stream.read()


BAD: dict[str, tuple[dict[str, Any], str, str, dict[str, str]]] = {
    "more than max_tokens": (
        windows(window_tokens=513), "BAD_OPTION", "windows.window_tokens", {"max_tokens": "512"}
    ),
    "no more than special tokens": (
        windows(window_tokens=3), "BAD_OPTION", "windows.window_tokens", {"max_tokens": "512"}
    ),
    "overlap over half": (
        windows(window_tokens=41, overlap_tokens=21),
        "BAD_OPTION", "windows.overlap_tokens", {"window_tokens": "41"},
    ),
    "overlap over half of max_tokens": (
        windows(overlap_tokens=257), "BAD_OPTION", "windows.overlap_tokens",
        {"window_tokens": "512"},
    ),
    "not in force": ({"windows": pb.WindowOptions()}, "BAD_OPTION", "windows", {}),
    "cut": (
        {"windows": pb.WindowOptions(window_tokens=9), "truncation": pb.TRUNCATION_DROP_END},
        "BAD_OPTION", "windows", {},
    ),
    "an unknown aggregation": (
        windows(aggregation=99), "UNKNOWN_ENUM", "windows.aggregation", {"value": "99"}
    ),
}  # fmt: skip
ONLY_CLASSIFY: dict[str, tuple[dict[str, Any], str, str, dict[str, str]]] = {
    "windows in the answer": ({"include_windows": True}, "BAD_OPTION", "include_windows", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD | ONLY_CLASSIFY)
def test_bad_options(stub: ClassifyServiceStub, channel: grpc.Channel, case: str) -> None:
    """Each call that takes the options rejects bad ones and names the field."""
    options, reason, field, metadata = (BAD | ONLY_CLASSIFY)[case]
    message = pb.ClassifyOptions(**options)
    one = pb.ClassifyRequest(input=INPUT, options=message)
    batch = pb.BatchClassifyRequest(inputs=[INPUT], options=message)
    tokenize = pb.TokenizeRequest(input=INPUT, **options if case in BAD else {})
    rank = pb.RankRequest(query="q", documents=["d"], model="ranker")
    zero_shot = pb.ZeroShotClassifyRequest(text="t", candidate_labels=["c"], model="binary")
    if "include_windows" not in options:
        rank.options.MergeFrom(pb.RankOptions(**options))
        zero_shot.options.MergeFrom(pb.ZeroShotOptions(**options))
    calls: list[tuple[str, Callable[[], object]]] = [
        ("options.", lambda: stub.Classify(one, timeout=PATIENCE_S)),
        ("options.", lambda: stub.BatchClassify(batch, timeout=PATIENCE_S)),
        ("config.options.", lambda: read_stream(channel, message)),
    ]
    if "include_windows" not in options:
        calls += [
            ("options.", lambda: stub.Rank(rank, timeout=PATIENCE_S)),
            ("options.", lambda: stub.ZeroShotClassify(zero_shot, timeout=PATIENCE_S)),
        ]
    if case in BAD:
        calls.append(("", lambda: stub.Tokenize(tokenize, timeout=PATIENCE_S)))

    for prefix, call in calls:
        assert refusal(call) == invalid(reason, f"{prefix}{field}", **metadata)


@pytest.mark.parametrize(
    ("tokens", "size", "overlap", "count"),
    [(9, 4, 2, 8), (10, 12, 0, 1), (10, 11, None, 2), (10, 11, 5, 2), (20, 12, 5, 3)],
)
def test_sizes(
    stub: ClassifyServiceStub, tokens: int, size: int, overlap: int | None, count: int
) -> None:
    """A window may hold one token more than a pair has special tokens, and overlap by half; a text
    of exactly one token more than fits has two windows.
    """
    text = words(tokens)
    request = pb.TokenizeRequest(
        input=pb.TextInput(text=text), **windows(window_tokens=size, overlap_tokens=overlap)
    )
    found = stub.Tokenize(request, timeout=PATIENCE_S).windows

    assert len(found) == count
    assert (found[0].start, found[-1].end) == (0, len(text))
    assert {window.token_count for window in found} == {min(size, tokens + 2)}
    room = min(size - 2, tokens)
    assert {window.end - window.start for window in found} == {len(words(room))}


def test_tokenize_shows_every_window(stub: ClassifyServiceStub) -> None:
    """Tokenize has the tokens of all windows one after the other, with spans in the text."""
    text = "Ünser 🙂 " + words(9) + " hotel"
    request = pb.TokenizeRequest(
        input=pb.TextInput(text=text), offset_unit=pb.OFFSET_UNIT_UTF16,
        **windows(window_tokens=9, overlap_tokens=1),
    )  # fmt: skip
    answer = stub.Tokenize(request, timeout=PATIENCE_S)
    units = text.encode("utf-16-le")

    assert sum(window.token_count for window in answer.windows) == len(answer.tokens)
    assert list(answer.attention_mask) == [1] * len(answer.tokens)
    assert answer.truncated_tokens == 0
    at = 0
    for window in answer.windows:
        tokens = answer.tokens[at : at + window.token_count]
        at += window.token_count
        assert [token.special for token in tokens] == [True, *[False] * 7, True]
        assert (window.start, window.end) == (tokens[1].start, tokens[-2].end)
        assert window.sequence_index == 0
        assert not window.scores
    last = answer.tokens[-2]
    assert units[2 * last.start : 2 * last.end].decode("utf-16-le") == "hotel"
    assert answer.tokens[0].start == answer.windows[0].start == 0


def test_answers_of_tokenize_that_pass_the_limit(
    stub: ClassifyServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that do not fit into an answer are TOO_MANY_TOKENS."""
    monkeypatch.setattr(tokens_of_answers, "MAX_ANSWER_BYTES", 500)
    request = pb.TokenizeRequest(
        input=pb.TextInput(text=words(30)), **windows(window_tokens=12, overlap_tokens=0)
    )

    failure = refusal(lambda: stub.Tokenize(request, timeout=PATIENCE_S))

    assert failure == invalid("TOO_MANY_TOKENS", "input.text", tokens="36", max_tokens="12")


PAIRS = {
    "the longer text": (words(30), words(5), 0, 3),
    "the longer second text": (words(5), words(30), 1, 3),
    "of equals the first": (words(11), words(11), 0, 2),
}


@pytest.mark.parametrize(("text", "pair", "read", "count"), PAIRS.values(), ids=PAIRS)
def test_pairs(stub: ClassifyServiceStub, text: str, pair: str, read: int, count: int) -> None:
    """Of a pair the text with more tokens is read in windows, and the other stands whole."""
    request = pb.ClassifyRequest(
        input=pb.TextInput(text=text, text_pair=pair),
        options=pb.ClassifyOptions(
            include_windows=True, **windows(window_tokens=24, overlap_tokens=3)
        ),
    )
    result = stub.Classify(request, timeout=PATIENCE_S).result

    assert result.window_count == count
    assert {window.sequence_index for window in result.windows} == {read}
    assert {window.token_count for window in result.windows} == {24}
    assert result.windows[0].start == 0
    assert result.windows[-1].end == len((text, pair)[read])


@pytest.mark.parametrize(
    ("text", "pair", "field"),
    [(words(40), words(32), "text_pair"), (words(32), words(40), "text")],
)
def test_pairs_that_leave_too_little(
    stub: ClassifyServiceStub, text: str, pair: str, field: str
) -> None:
    """A text that stands whole and leaves less than a quarter is TOO_MANY_TOKENS, in its field."""
    both = pb.TextInput(text=text, text_pair=pair)
    options = pb.ClassifyOptions(**windows(window_tokens=44))
    request = pb.BatchClassifyRequest(inputs=[INPUT, both], options=options)

    good, bad = stub.BatchClassify(request, timeout=PATIENCE_S).outcomes

    assert good.HasField("classification")
    assert item_failure(bad) == invalid(
        "TOO_MANY_TOKENS", f"inputs[1].{field}", tokens="75", max_tokens="44"
    )
    options.windows.window_tokens = 48  # 13 of 48 tokens
    enough = pb.ClassifyRequest(input=both, options=options)
    options.windows.overlap_tokens = 0
    assert stub.Classify(enough, timeout=PATIENCE_S).result.window_count == 4


def test_tokens_of_several_windows(stub: ClassifyServiceStub) -> None:
    """With include_tokens a text that does not fit ends as under REJECT, others have one window."""
    options = pb.ClassifyOptions(include_tokens=True, **windows(window_tokens=20))
    inputs = [pb.TextInput(text=words(18)), pb.TextInput(text=words(19))]
    request = pb.BatchClassifyRequest(inputs=inputs, options=options)

    good, bad = stub.BatchClassify(request, timeout=PATIENCE_S).outcomes

    assert len(good.classification.tokens) == 20
    assert item_failure(bad) == invalid(
        "TOO_MANY_TOKENS", "inputs[1].text", tokens="21", max_tokens="20"
    )


def test_too_many_windows_of_a_text(stub: ClassifyServiceStub) -> None:
    """A text of more windows than the limit is TOO_MANY_TOKENS; one at the limit is answered."""

    def classify(tokens: int) -> pb.ClassifyResponse:
        options = pb.ClassifyOptions(**windows(window_tokens=12, overlap_tokens=0))
        text = pb.TextInput(text=words(tokens))
        return stub.Classify(pb.ClassifyRequest(input=text, options=options), timeout=PATIENCE_S)

    most = classify(10 * MAX_WINDOWS)

    assert most.result.window_count == MAX_WINDOWS
    assert most.result.token_count == 12 * MAX_WINDOWS
    assert most.timing.batch_texts >= 1
    assert refusal(lambda: classify(10 * MAX_WINDOWS + 1)) == invalid(
        "TOO_MANY_TOKENS", "input.text",
        tokens=str(10 * MAX_WINDOWS + 3), max_tokens="12", windows=str(MAX_WINDOWS + 1),
        max_windows_per_text=str(MAX_WINDOWS),
    )  # fmt: skip


def test_too_many_windows_of_a_batch(stub: ClassifyServiceStub) -> None:
    """From the first text that would pass the limit of a call, all are OVERLOADED, and go through
    in another call.
    """
    four = pb.TextInput(text=words(40))
    inputs = [four, pb.TextInput(text=" "), four, pb.TextInput(text="a"), four, INPUT, four]
    options = pb.ClassifyOptions(**windows(window_tokens=12, overlap_tokens=0))

    def classify(inputs: list[pb.TextInput]) -> list[pb.Outcome]:
        request = pb.BatchClassifyRequest(inputs=inputs, options=options)
        return list(stub.BatchClassify(request, timeout=PATIENCE_S).outcomes)

    outcomes = classify(inputs)

    assert [each.classification.window_count for each in outcomes] == [4, 0, 4, 1, 0, 0, 0]
    assert item_failure(outcomes[1]).reason == "EMPTY_TEXT"
    for outcome in outcomes[4:]:
        assert item_failure(outcome) == Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            metadata={"max_windows_per_call": str(MAX_TEXTS)},
            can_retry_later=True,
        )
        assert item_failure(outcome).retry_after_s > 0
    assert all(each.HasField("classification") for each in classify(inputs[4:]))


def test_the_aggregation_of_multi_label_models(stub: ClassifyServiceStub) -> None:
    """Scores of multi-label models are the highest of any window; top_k and min_score act on
    them.
    """
    options = pb.ClassifyOptions(include_windows=True, **windows(window_tokens=12))
    request = pb.ClassifyRequest(
        input=pb.TextInput(text=words(9) + WORDS), model="ranker", options=options
    )
    result = stub.Classify(request, timeout=PATIENCE_S).result
    highest = max(window.scores[0] for window in result.windows)
    request.options.min_score = highest + 1e-3
    none = stub.Classify(request, timeout=PATIENCE_S).result

    assert result.aggregation == pb.WINDOW_AGGREGATION_MAX_SCORE
    assert [score.score for score in result.scores] == [highest]
    assert not none.scores
    assert none.window_count == result.window_count > 1


def test_streams(channel: grpc.Channel) -> None:
    """An item of a stream is read in windows, and stays one item; its id is answered once."""
    options = pb.ClassifyOptions(**windows(window_tokens=12, overlap_tokens=0))
    texts = {"a": words(3), "b": words(70), "c": words(200), "d": words(25), "e": " "}
    for ordering in (pb.ORDERING_AS_COMPLETED, pb.ORDERING_IN_ORDER):
        with Conversation(channel, options=options, ordering=ordering) as stream:
            stream.send_items(*(item(name, text) for name, text in texts.items()))
            stream.half_close()
            stream.read_started()
            results = stream.read_to_end()
        outcomes = {result.id: result.outcome for result in results}

        assert len(results) == len(outcomes) == len(texts)
        if ordering == pb.ORDERING_IN_ORDER:
            assert [result.id for result in results] == list(texts)
        counts = {name: each.classification.window_count for name, each in outcomes.items()}
        assert counts == {"a": 1, "b": 7, "c": 0, "d": 3, "e": 0}
        assert item_failure(outcomes["c"]).field == "items.items[2].input.text"
        assert item_failure(outcomes["c"]).metadata["windows"] == "20"


def test_models_say_what_they_are_for(models: ModelServiceStub) -> None:
    """Model.tasks follows from labels and tokenizer; the limits of windows are there."""
    described = models.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models

    assert {model.name: list(model.tasks) for model in described} == {
        "bert": ["classify"],
        "modernbert": ["classify"],
        "gpt2": ["classify"],
        "ranker": ["classify", "rank"],
        "nli": ["classify", "zero_shot_classify"],
        "binary": ["classify", "zero_shot_classify"],
        "half": ["classify", "zero_shot_classify"],
    }
    for model in described:
        assert model.limits.max_windows_per_text == MAX_WINDOWS
        assert model.limits.max_windows_per_call == MAX_TEXTS
        assert model.limits.max_texts_per_call_with_windows == MAX_TEXTS
