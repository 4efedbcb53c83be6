"""Bad texts: every RPC returns the same error, and no other text fails."""

from collections.abc import Callable

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, Failure, invalid, item_failure, refusal

LIMIT = 65_536
LONG = SECRET + " a" * 510  # with [CLS] and [SEP] 513 tokens

BAD_TEXTS = {
    "no text": (pb.TextInput(), "EMPTY_TEXT", "text", {}),
    "blank": (pb.TextInput(text=" \t\r\n\u00a0\u3000"), "EMPTY_TEXT", "text", {}),
    "no text, but a pair": (pb.TextInput(text_pair=SECRET), "EMPTY_TEXT", "text", {}),
    "empty pair": (pb.TextInput(text=SECRET, text_pair=""), "EMPTY_TEXT", "text_pair", {}),
    "blank pair": (pb.TextInput(text=SECRET, text_pair="\n"), "EMPTY_TEXT", "text_pair", {}),
    "one byte too many": (
        pb.TextInput(text=SECRET.ljust(LIMIT - 3, "a")),
        "TEXT_TOO_LARGE",
        "text",
        {"bytes": str(LIMIT + 1), "max_text_bytes": str(LIMIT)},
    ),
    "one megabyte": (
        pb.TextInput(text=SECRET + "\U0001f600" * 250_000),
        "TEXT_TOO_LARGE",
        "text",
        {"bytes": "1000015", "max_text_bytes": str(LIMIT)},
    ),
    "large pair": (
        pb.TextInput(text=SECRET, text_pair="a" * (LIMIT + 1)),
        "TEXT_TOO_LARGE",
        "text_pair",
        {"bytes": str(LIMIT + 1), "max_text_bytes": str(LIMIT)},
    ),
    "513 tokens": (
        pb.TextInput(text=LONG),
        "TOO_MANY_TOKENS",
        "text",
        {"tokens": "513", "max_tokens": "512"},
    ),
    "513 tokens in a pair": (
        pb.TextInput(text=SECRET, text_pair="a " * 509),
        "TOO_MANY_TOKENS",
        "text",
        {"tokens": "513", "max_tokens": "512"},
    ),
}

bad_texts = pytest.mark.parametrize(
    ("bad", "reason", "field", "metadata"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys()
)
good = pb.TextInput(text="I really love this book")


@bad_texts
def test_classify(
    classifier: ClassifyServiceStub,
    classify: Classify,
    bad: pb.TextInput,
    reason: str,
    field: str,
    metadata: dict[str, str],
) -> None:
    """The status has reason, field and metadata; the next call is answered."""
    request = pb.ClassifyRequest(input=bad)

    failure = refusal(lambda: classifier.Classify(request, timeout=PATIENCE_S))

    assert failure == invalid(reason, f"input.{field}", **metadata)
    assert classify(good.text).result.scores


@bad_texts
def test_tokenize(
    classifier: ClassifyServiceStub,
    bad: pb.TextInput,
    reason: str,
    field: str,
    metadata: dict[str, str],
) -> None:
    """Tokenize rejects the texts that Classify rejects."""
    request = pb.TokenizeRequest(input=bad)

    failure = refusal(lambda: classifier.Tokenize(request, timeout=PATIENCE_S))

    assert failure == invalid(reason, f"input.{field}", **metadata)


@bad_texts
def test_batch(
    classifier: ClassifyServiceStub,
    classify: Classify,
    bad: pb.TextInput,
    reason: str,
    field: str,
    metadata: dict[str, str],
) -> None:
    """The bad text's outcome is an error; the other texts have the scores they have alone."""
    answer = classifier.BatchClassify(
        pb.BatchClassifyRequest(inputs=[good, bad, good]), timeout=PATIENCE_S
    )

    before, failed, behind = answer.outcomes
    assert item_failure(failed) == invalid(reason, f"inputs[1].{field}", **metadata)
    alone = pytest.approx(_scores(classify(good.text).result), abs=1e-5)
    assert _scores(before.classification) == alone
    assert _scores(behind.classification) == alone


@bad_texts
def test_stream(
    converse: Callable[..., Conversation],
    classify: Classify,
    bad: pb.TextInput,
    reason: str,
    field: str,
    metadata: dict[str, str],
) -> None:
    """Only the bad item fails; other items of its message and later ones are answered."""
    stream = converse()
    stream.read_started()
    stream.send_items(
        pb.StreamItem(id="before", input=good),
        pb.StreamItem(id="bad", input=bad),
    )
    stream.send_items(pb.StreamItem(id="behind", input=good))
    stream.half_close()

    outcomes = {result.id: result.outcome for result in stream.read_to_end()}

    failure = item_failure(outcomes["bad"])
    assert failure == invalid(reason, f"items.items[1].input.{field}", **metadata)
    alone = pytest.approx(_scores(classify(good.text).result), abs=1e-5)
    assert _scores(outcomes["before"].classification) == alone
    assert _scores(outcomes["behind"].classification) == alone


def test_absent_inputs_are_empty_texts(
    classifier: ClassifyServiceStub, converse: Callable[..., Conversation]
) -> None:
    """A request without an input gets EMPTY_TEXT."""
    unary = refusal(lambda: classifier.Classify(pb.ClassifyRequest(), timeout=PATIENCE_S))
    stream = converse()
    stream.send_items(pb.StreamItem(id="a"))
    stream.half_close()
    [result] = stream.read_to_end()

    assert unary == invalid("EMPTY_TEXT", "input.text")
    assert item_failure(result.outcome) == invalid("EMPTY_TEXT", "items.items[0].input.text")


def test_batches_of_bad_texts_only(classifier: ClassifyServiceStub) -> None:
    """A batch of bad texts gets one error for each."""
    inputs = [bad for bad, *_ in BAD_TEXTS.values()]

    answer = classifier.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)

    assert [item_failure(outcome) for outcome in answer.outcomes] == [
        Failure(grpc.StatusCode.INVALID_ARGUMENT, reason, f"inputs[{index}].{field}", metadata)
        for index, (_, reason, field, metadata) in enumerate(BAD_TEXTS.values())
    ]


def test_largest_texts_are_answered(classify: Classify) -> None:
    """A text of exactly max_text_bytes and one of exactly 512 tokens are legal."""
    spaced = "I love it".ljust(LIMIT)

    assert classify(spaced).result.token_count == classify("I love it").result.token_count
    assert classify(SECRET + " a" * 509).result.token_count == 512


def _scores(result: pb.Classification) -> dict[str, float]:
    return {score.label: score.score for score in result.scores}
