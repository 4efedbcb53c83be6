"""Results as a notebook, `help` and `json.dumps` show them."""

import dataclasses
import inspect
import json
from typing import Any, is_typeddict

import pytest

import classwire
from classwire import (
    CandidateScore,
    Classification,
    FailedDocument,
    InvalidInputError,
    LabelScore,
    ModelRef,
    OverloadedError,
    RankedDocument,
    Ranking,
    Reason,
    StreamResult,
    Timing,
    Token,
    Tokenization,
    ZeroShotClassification,
)

REF = ModelRef("stars", "0123456789abcdef" * 4, "float32", "plain", "packed")
TIMING = Timing(90, 0, 3100, 3300, 1, 7, False)
SCORES = tuple(LabelScore(f"{5 - n} stars", 4 - n, 2.0**-n / 3) for n in range(5))
TOKENS = tuple(Token(100 + n, f"t{n}", n, n + 1, False, 0, 0) for n in range(512))
FOUND = Classification(SCORES, "softmax", 7, 0, (0.1,) * 5, TOKENS, REF, TIMING, "mine")
NOTHING = dataclasses.replace(FOUND, scores=(), logits=(), tokens=(), request_id=None)
WRONG = InvalidInputError("no text", reason=Reason.EMPTY_TEXT, field="inputs[1].text")
LATER = OverloadedError("too\nmuch", retry_after_s=1.5, metadata={"queue": "9"}, request_id="mine")
DOCUMENTED = [
    kind
    for kind in [getattr(classwire, name) for name in classwire.__all__]
    if inspect.isclass(kind)
    and (dataclasses.is_dataclass(kind) or is_typeddict(kind) or issubclass(kind, StreamResult))
]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            FOUND,
            "Classification(scores=('5 stars' 0.3333, '4 stars' 0.1667, '3 stars' 0.08333, "
            "... 2 more), token_count=7, truncated_tokens=0, model='stars')",
        ),
        (NOTHING, "Classification(token_count=7, truncated_tokens=0, model='stars')"),
        (SCORES[0], "LabelScore(label='5 stars', label_id=4, score=0.3333)"),
        (
            REF,
            "ModelRef(name='stars', fingerprint='0123456789abcdef0123456789abcdef01234...', "
            "precision='float32', execution='plain', layout='packed')",
        ),
        (
            TIMING,
            "Timing(tokenize_us=90, queue_us=0, inference_us=3100, total_us=3300, batch_texts=1, "
            "batch_tokens=7, cached=False)",
        ),
        (
            Tokenization(TOKENS, (1,) * 512, 3, REF),
            "Tokenization(tokens=('t0', 't1', 't2', ... 509 more), truncated_tokens=3, "
            "model='stars')",
        ),
        (
            Ranking((RankedDocument(1, 0.75, 9, 0, 1),), (FailedDocument(0, WRONG),), REF, TIMING),
            "Ranking(results=(RankedDocument(index=1, score=0.75, token_count=9, "
            "truncated_tokens=0, window_count=1)), failures=(FailedDocument(index=0, "
            "error=InvalidInputError('EMPTY_TEXT: no text (inputs[1].text)'))), model='stars')",
        ),
        (
            ZeroShotClassification((CandidateScore("billing", 1, 0.5),), 9, 0, 1, REF, TIMING),
            "ZeroShotClassification(scores=(CandidateScore(label='billing', index=1, score=0.5)), "
            "token_count=9, truncated_tokens=0, window_count=1, model='stars')",
        ),
        (WRONG, "InvalidInputError('EMPTY_TEXT: no text (inputs[1].text)')"),
        (LATER, "OverloadedError('RESOURCE_EXHAUSTED: too much')"),
        (
            StreamResult("a", 0, WRONG),
            "StreamResult(id='a', index=0, "
            "outcome=InvalidInputError('EMPTY_TEXT: no text (inputs[1].text)'))",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_is_shown_in_one_line(value: object, shown: str) -> None:
    """A result's `repr` is one line: the start of a long tuple, and what the scores depend on by
    name.
    """
    assert repr(value) == shown


def test_descriptions_are_shown_in_one_line(client: Any) -> None:
    """The `repr` of a model and of a server leaves out what is not needed to tell them apart."""
    assert repr(client.model()) == (
        "Model(name='fake', is_default=True, state='ready', max_tokens=512, precision='float32')"
    )
    assert repr(client.server_info()) == (
        "ServerInfo(version='0.0.0', features=('fake'), "
        "limits=ServerLimits(max_message_bytes=4194304, max_streams=8, default_timeout_s=30))"
    )


def test_results_as_plain_values(client: Any) -> None:
    """`to_dict` returns all attributes as values that come back from JSON unchanged."""
    found = FOUND.to_dict()
    assert (found["label"], found["score"]) == ("5 stars", SCORES[0].score)
    assert found["scores"][4] == {"label": "1 stars", "label_id": 0, "score": SCORES[4].score}
    assert found["tokens"][0]["text"] == "t0"
    assert found["logits"] == [0.1] * 5
    assert found["model"]["fingerprint"] == REF.fingerprint
    assert found["timing"]["cached"] is False
    assert found["request_id"] == "mine"
    assert (NOTHING.to_dict()["label"], NOTHING.to_dict()["score"]) == (None, None)
    assert WRONG.to_dict()["error"] == {
        "code": "INVALID_ARGUMENT",
        "reason": "EMPTY_TEXT",
        "message": "no text",
        "field": "inputs[1].text",
        "metadata": {},
        "retry_after_s": None,
        "request_id": None,
    }
    failed = FailedDocument(0, WRONG).to_dict()
    assert (failed["index"], failed["error"]["reason"]) == (0, "EMPTY_TEXT")
    chosen = ZeroShotClassification((CandidateScore("a", 1, 0.5),), 9, 0, 1, REF, TIMING).to_dict()
    assert (chosen["label"], chosen["score"], chosen["scores"][0]["index"]) == ("a", 0.5, 1)
    streamed = StreamResult("a", 7, LATER).to_dict()
    assert (streamed["id"], streamed["index"]) == ("a", 7)
    assert streamed["error"]["retry_after_s"] == 1.5
    described = [client.model(), client.server_info(), client.tokenize("a text")]
    for plain in (found, failed, streamed, *(each.to_dict() for each in described)):
        assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__name__)
def test_help_explains_every_attribute(kind: type) -> None:
    """`help` has a line for each attribute of an input or result, and for each option."""
    described = inspect.getdoc(kind) or ""
    missing = [name for name in inspect.get_annotations(kind) if f"\n    {name}: " not in described]
    assert not missing
