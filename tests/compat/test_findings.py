"""What the sweep counts as right, wrong and refused, and its page. Pure."""

import tomllib
from typing import Any

import pytest

from benchmarks.machine import machine
from tests.compat import publication
from tests.compat.__main__ import REFUSALS
from tests.compat.catalogue import TYPES
from tests.compat.findings import (
    FLAT,
    NOT_RUN,
    REFUSED,
    RIGHT,
    WRONG,
    Promise,
    counts,
    faults,
    finding,
)

PLAIN = {"kind": "plain", "text": "ok", "text_pair": None, "tokens": 3, "scores": [0.25, 0.75]}
PAIR = {"kind": "pair", "text": "ok", "text_pair": "no", "cannot_run": "ValueError: no pairs"}
ANSWER = {"scores": [0.25, 0.75], "labels": ["a", "b"]}
ERROR = {"error": "TOO_MANY_TOKENS: too long"}


def truth(*texts: Any, **changes: Any) -> dict[str, Any]:
    """Return the truth of a type with two labels."""
    known = {"labels": ["a", "b"], "spread": 0.5, "limit": 64, "texts": list(texts or [PLAIN])}
    return known | changes


def observed(*answers: Any, batch: Any = None, max_tokens: int = 64) -> dict[str, Any]:
    """Return what a server answered, in each of its calls; `batch` replaces the batch's answers."""
    given = list(answers or [ANSWER])
    return {
        "layout": "packed",
        "precision": "float32",
        "max_tokens": max_tokens,
        "label_agreement": 1.0,
        "answers": {"unary": given, "batch": batch or given, "stream": given},
    }


@pytest.mark.parametrize(
    ("known", "seen", "verdict", "reason"),
    [
        (truth(), observed(), RIGHT, ""),
        (truth(), observed(batch=[{**ANSWER, "scores": [0.2, 0.8]}]), WRONG, "batch: plain off"),
        (truth(), observed({**ANSWER, "scores": [float("nan")] * 2}), WRONG, "off by up to inf"),
        (truth(), observed({**ANSWER, "labels": ["b", "a"]}), WRONG, "the labels are"),
        (truth(), observed(max_tokens=66), WRONG, "accepts 66 tokens"),
        (truth(limit=None), observed(max_tokens=512), RIGHT, ""),
        (truth(), observed(batch=[ERROR]), REFUSED, "plain: TOO_MANY_TOKENS"),
        (truth(), {"load_error": "BAD_MODEL: no"}, REFUSED, "BAD_MODEL"),
        (truth(PLAIN, PAIR), observed(ANSWER, ERROR), RIGHT, ""),
        (truth(PLAIN, PAIR), observed(ANSWER, ANSWER), WRONG, "that direct use cannot run"),
        (truth(PAIR), {}, NOT_RUN, "no pairs"),
        (truth(cannot_run="ImportError: no"), {}, NOT_RUN, "ImportError: no"),
        (truth(spread=0.01), observed(), FLAT, "0.01"),
        (truth(spread=0.01), observed({**ANSWER, "scores": [0.2, 0.8]}), WRONG, "off by"),
    ],
)
def test_verdicts(known: dict[str, Any], seen: dict[str, Any], verdict: str, reason: str) -> None:
    """One score that is off, by any call, makes a type wrong; an error where direct use gives
    scores makes it refused; scores that hardly differ make it flat.
    """
    found = finding("bert", known, seen)
    assert found["verdict"] == verdict
    assert reason in found["reason"]


def test_other_precisions_promise_less() -> None:
    """A promise bounds the difference of a score, and the share of labels that the server keeps."""
    seen = observed({**ANSWER, "scores": [0.23, 0.77]})
    assert finding("bert", truth(), seen, Promise(score=0.03))["verdict"] == RIGHT
    assert finding("bert", truth(), seen, Promise(score=0.01))["verdict"] == WRONG
    seen["label_agreement"] = 0.9
    assert finding("bert", truth(), seen, Promise(score=0.03))["verdict"] == WRONG
    assert finding("bert", truth(), seen, Promise(score=0.03, labels=0))["verdict"] == RIGHT


def test_listed_types_are_no_faults() -> None:
    """Every type that is not right is a fault unless it is listed under its verdict; a wrong one
    always is, and a right one that is listed.
    """
    found = [
        {"type": name, "verdict": verdict, "reason": "why"}
        for name, verdict in zip(
            "abcdefg", (WRONG, REFUSED, REFUSED, RIGHT, FLAT, NOT_RUN, RIGHT), strict=True
        )
    ]
    listed = {REFUSED: {"a": "known", "b": "known", "g": "known"}, FLAT: {"e": "known"}}
    assert faults(found, listed) == [
        "a: wrong: why",
        "c: refused: why",
        "f: not_run: why",
        "g: right, but listed in refusals.toml",
    ]
    assert counts(found) == {RIGHT: 2, WRONG: 1, REFUSED: 2, FLAT: 1, NOT_RUN: 1}


def test_listed_types_are_of_the_library_and_have_a_reason() -> None:
    """refusals.toml names types of the library by verdict, each with a reason."""
    listed = tomllib.loads(REFUSALS.read_text(encoding="utf-8"))
    assert set(listed) <= {REFUSED, FLAT, NOT_RUN}
    for types in listed.values():
        assert set(types) <= set(TYPES)
        assert all(isinstance(reason, str) and reason.strip() for reason in types.values())


def test_the_page_has_a_row_for_each_type() -> None:
    """Results replace the table on the page: a row for each type, with other precisions."""
    right = finding("bert", truth(tokenizer="BertTokenizer"), observed())
    refused = finding("bart", truth(), {"load_error": "BAD_MODEL: no"})
    results = {
        "taken_at": "2026-01-01",
        "machine": machine(),
        "versions": {"transformers": "5"},
        "seconds": 1,
        "listed": {REFUSED: {"bart": "it has a reason"}},
        "float32": [right, refused],
        "int8": [{**right, "precision": "int8", "deviation": 0.002}],
    }
    page = publication.published(publication.PAGE.read_text(encoding="utf-8"), results)
    assert "| `bert` | right, 0e+00 | packed | int8, 2e-03 |  |" in page
    assert "| `bart` | **refused** |  |  | it has a reason |" in page
    assert publication.published(page, results) == page
    with pytest.raises(ValueError, match="does not have"):
        publication.published("", results)
