"""Unusual texts: every kind of call gives the scores of transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S

TEXTS = {
    "emoji": "👩‍👩‍👧‍👦 I love 🏳️‍🌈 this 😀😀 book",
    "right to left": "אהבתי את הספר \u202e هذا كتاب جيد \u202c love",
    "NUL": "I love\0this\0\0book",
    "only NUL": "\0",
    "control characters": "\x01\x02 I \x7f love \u200b it \ufeff",
    "combining characters": "Zal̡̝͈͉ͅg̷͜o e\u0301 \u0301",
    "private use and not assigned": "\ue000 \U000e0fff \uffff love",
    "special tokens in words": "[CLS] I love [SEP] it [MASK] [PAD] [UNK]",
    "markup": "<b>I love it</b> & {{this}} %s \\u0000 ' OR 1=1 --",
    "one word of 10,000 letters": "a" * 10_000,
    "64 KiB of spaces and a word": "ok".rjust(65_536),
    "512 tokens": "a " * 510,
    "line ends": "I\r\nlove\u2028it\u2029.",
}
NEIGHBOUR = "I really love this book"


@pytest.fixture(scope="session")
def direct(bert: Path) -> Callable[[str], dict[str, float]]:
    """The scores that transformers gives a text alone."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(bert).eval()

    @torch.inference_mode()
    def score(text: str) -> dict[str, float]:
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        scores = torch.softmax(logits, dim=0).tolist()
        return {model.config.id2label[index]: score for index, score in enumerate(scores)}

    return score


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_answers(
    classifier: ClassifyServiceStub,
    classify: Classify,
    converse: Callable[..., Conversation],
    direct: Callable[[str], dict[str, float]],
    text: str,
) -> None:
    """A text has the scores of transformers alone, in a batch and in a stream."""
    expected = pytest.approx(direct(text), abs=1e-5)
    expected_neighbour = pytest.approx(direct(NEIGHBOUR), abs=1e-5)
    texts = (NEIGHBOUR, text, NEIGHBOUR)
    stream = converse()
    stream.send_items(*(item(str(index), text) for index, text in enumerate(texts)))
    stream.half_close()

    batch = classifier.BatchClassify(
        pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts]),
        timeout=PATIENCE_S,
    )

    results = sorted(stream.read_to_end(), key=lambda result: result.id)
    assert scores(classify(text).result) == expected
    for outcomes in (list(batch.outcomes), [result.outcome for result in results]):
        before, answer, behind = (scores(outcome.classification) for outcome in outcomes)
        assert answer == expected
        assert before == expected_neighbour
        assert behind == expected_neighbour


def scores(result: pb.Classification) -> dict[str, float]:
    """The scores by label."""
    return {score.label: score.score for score in result.scores}
