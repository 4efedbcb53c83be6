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
        "answers": {"unary": given, "batch": batch or given, "stream": given},
    }


@pytest.mark.parametrize(
    ("known", "seen", "verdict", "reason"),
    [
        (truth(), observed(), RIGHT, ""),
        (truth(), observed(batch=[{**ANSWER, "scores": [0.2, 0.8]}]), WRONG, "batch, plain: off"),
        (truth(), observed({**ANSWER, "scores": [float("nan")] * 2}), WRONG, "off by nan"),
        (truth(), observed({**ANSWER, "labels": ["b", "a"]}), WRONG, "labels are"),
        (truth(), observed(max_tokens=66), WRONG, "accepts 66 tokens"),
        (truth(limit=None), observed(max_tokens=512), RIGHT, ""),
        (truth(), observed(batch=[ERROR]), REFUSED, "plain: TOO_MANY_TOKENS"),
        (truth(), {"load_error": "BAD_MODEL: no"}, REFUSED, "BAD_MODEL"),
        (truth(PLAIN, PAIR), observed(ANSWER, ERROR), RIGHT, ""),
        (truth(PLAIN, PAIR), observed(ANSWER, ANSWER), WRONG, "direct use cannot run it"),
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


def test_accepted_refusals_are_no_faults() -> None:
    """A wrong type is always a fault; a refused one unless the list has it."""
    found = [
        {"type": name, "verdict": verdict, "reason": "why"}
        for name, verdict in (("a", WRONG), ("b", REFUSED), ("c", REFUSED), ("d", RIGHT))
    ]
    assert faults(found, {"a": "known", "b": "known"}) == ["a: wrong: why", "c: refused: why"]
    assert counts(found) == {RIGHT: 1, WRONG: 1, REFUSED: 2}


def test_accepted_refusals_are_of_types_and_have_a_reason() -> None:
    """refusals.toml names types of the library, each with a reason."""
    listed = tomllib.loads(REFUSALS.read_text(encoding="utf-8"))
    assert set(listed) <= set(TYPES)
    assert all(isinstance(reason, str) and reason.strip() for reason in listed.values())


def test_the_page_has_a_row_for_each_type() -> None:
    """Results replace the table on the page: a row for each type, with other precisions."""
    right = finding("bert", truth(tokenizer="BertTokenizer"), observed())
    refused = finding("bart", truth(), {"load_error": "BAD_MODEL: no"})
    results = {
        "taken_at": "2026-01-01",
        "machine": machine(),
        "versions": {"transformers": "5"},
        "seconds": 1,
        "refusals": {"bart": "it has a reason"},
        "float32": [right, refused],
        "int8": [{**right, "precision": "int8", "deviation": 0.002}],
    }
    page = publication.published(publication.PAGE.read_text(encoding="utf-8"), results)
    assert "| `bert` | right, 0e+00 | packed | int8, 2e-03 |  |" in page
    assert "| `bart` | **refused** |  |  | it has a reason |" in page
    assert publication.published(page, results) == page
    with pytest.raises(ValueError, match="does not have"):
        publication.published("", results)
