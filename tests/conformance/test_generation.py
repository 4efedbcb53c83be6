"""How the vectors are made."""

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers

from conformance import generation
from conformance.checkpoints import make
from conformance.generation import document, zero_shot
from conformance.generation.encoding import Token, truncated
from conformance.generation.problems import Problem
from conformance.generation.scoring import ranked

SAME = 3e-6
"""Largest difference of two processors' float32, at most a third of the tolerance."""


def test_vectors_are_those_that_are_generated(vectors: Mapping[str, Any]) -> None:
    """`make conformance-vectors` writes the committed vectors, but for the last digits."""
    same(document.generate(), vectors)


def test_layout_keeps_everything(vectors: Mapping[str, Any]) -> None:
    """The file is ASCII JSON with one line a vector."""
    text = document.laid_out(vectors)
    assert text == document.VECTORS.read_text("ascii")
    assert len(text.splitlines()) > sum(len(group["vectors"]) for group in vectors["groups"])


def same(one: Any, other: Any) -> None:
    """Assert that two documents are equal, numbers within SAME."""
    if isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            same(left, right)
    else:
        assert one == other


def test_vectors_are_made_without_the_server() -> None:
    """No module that makes vectors imports the server, the client library, or a caller of
    either.
    """
    [folder] = generation.__path__
    for file in Path(folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith(("classwire", "grpc", "conformance.servers")), file


def test_names(vectors: Mapping[str, Any]) -> None:
    """Group and name identify a vector."""
    for group in vectors["groups"]:
        names = [vector["name"] for vector in group["vectors"]]
        assert len(set(names)) == len(names)
        assert not any(": " in name for name in names)


def test_no_vector_depends_on_rounding() -> None:
    """No vector depends on rounding: near ties and near minimum scores are left out, exact ties
    are not.
    """
    labels = ["a", "b"]
    with pytest.raises(ValueError, match="too close"):
        ranked(labels, [0.5, 0.50001], {})
    with pytest.raises(ValueError, match="too close"):
        ranked(labels, [0.5, 0.1], {"minScore": 0.50001})
    assert [score["label"] for score in ranked(labels, [0.5, 0.5], {})] == labels


def test_zero_shot_is_that_of_the_pipeline(vectors: Mapping[str, Any], tmp_path: Path) -> None:
    """Without windows, zero-shot's vectors have the scores of transformers' own pipeline."""
    [group] = [group for group in vectors["groups"] if group["name"] == "zero-shot"]
    pipelines = {
        name: transformers.pipeline(
            "zero-shot-classification", model=str(make(name, tmp_path / name)), device="cpu"
        )
        for name in zero_shot.ENTAILMENT
    }
    compared = 0
    for vector in group["vectors"]:
        request, options = vector["request"], vector["request"].get("options", {})
        template = options.get("hypothesisTemplate", "This example is {}.")
        if "error" in vector["expect"] or "truncation" in options or template.count("{") > 1:
            continue
        result = vector["expect"]["response"]["result"]
        found = pipelines[request["model"]](
            request["text"],
            request["candidateLabels"],
            hypothesis_template=template,
            multi_label=options.get("multiLabel", False),
        )
        scores = dict(zip(found["labels"], found["scores"], strict=True))
        for score in result["scores"]:
            assert math.isclose(score["score"], scores[score["label"]], abs_tol=SAME)
        compared += 1
    assert compared >= 5


def pair(first: int, second: int) -> list[Token]:
    """Return the tokens of a pair, with special tokens; an id is the position in its text."""
    texts = [Token(n, "", 0, 0, sequence, 0) for sequence, count in ((0, first), (1, second))
             for n in range(count)]  # fmt: skip
    special = Token(99, "", 0, 0, None, 0)
    return [special, *texts, special]


@pytest.mark.parametrize(
    ("lengths", "left"), [((9, 2), (4, 2)), ((2, 9), (2, 4)), ((7, 9), (3, 3)), ((3, 3), (3, 3))]
)
def test_pairs_lose_from_the_longer_text(lengths: tuple[int, int], left: tuple[int, int]) -> None:
    """A pair loses tokens from the longer text until both are equal, then from each in turn."""
    tokens = truncated(pair(*lengths), 8, "TRUNCATION_DROP_END")
    assert tuple(sum(t.sequence == n for t in tokens) for n in (0, 1)) == left
    assert tokens[0].sequence is tokens[-1].sequence is None


def test_ends_of_truncation() -> None:
    """Truncation drops the end or the start; without either the text is rejected."""
    tokens = pair(9, 0)
    assert [t.id for t in truncated(tokens, 5, "TRUNCATION_DROP_END")] == [99, 0, 1, 2, 99]
    assert [t.id for t in truncated(tokens, 5, "TRUNCATION_DROP_START")] == [99, 6, 7, 8, 99]
    with pytest.raises(Problem) as raised:
        truncated(tokens, 5, "TRUNCATION_REJECT")
    assert raised.value.metadata == {"tokens": "11", "max_tokens": "5"}
