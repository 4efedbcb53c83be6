"""`classwire.pipeline(task="zero-shot-classification")` against transformers' own."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import classwire
from classwire import InvalidInputError, Reason
from classwire._calls.concurrent import mapped
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

from .test_cross_encoder import LONG, random_text

CANDIDATES = ["book", "hotel", "software", "terrible software", "1234", "Das Buch ist gut"]
TEXT = "the staff was rude and the breakfast cold"


class Texts(torch.utils.data.Dataset[str]):
    """A dataset of two texts."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return [TEXT, "I really love this book"][index]


@pytest.fixture(scope="module")
def theirs(pair_models: dict[str, Path]) -> Any:
    """Return the pipeline of transformers, in this process."""
    return transformers.pipeline(
        "zero-shot-classification",
        model=str(pair_models["nli"]),
        device="cpu",
        dtype=torch.float32,
    )


@pytest.fixture(scope="module")
def ours(pairs_target: str) -> Iterator[Any]:
    """Return the pipeline of Classwire, over a server."""
    served = classwire.pipeline(pairs_target, "nli", task="zero-shot-classification")
    with served:
        yield served


def assert_same(ours: Any, theirs: Any) -> None:
    """Assert equal shapes, texts, labels and order, and scores equal to 1e-5."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs) == ["sequence", "labels", "scores"]
        assert (ours["sequence"], ours["labels"]) == (theirs["sequence"], theirs["labels"])
        assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-5)
    else:
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            assert_same(our, their)


@pytest.mark.parametrize("multi_label", [False, True])
def test_50_random_texts_have_the_same_scores(ours: Any, theirs: Any, multi_label: bool) -> None:
    """Both return the same for random texts, candidates and templates."""
    chance = random.Random(11)
    templates = ["This example is {}.", "it is about {} !", "{}"]
    for _ in range(25):
        text = random_text(chance, 60)
        candidates = chance.sample(CANDIDATES, k=chance.randint(1, len(CANDIDATES)))
        options = {"hypothesis_template": chance.choice(templates), "multi_label": multi_label}
        assert_same(ours(text, candidates, **options), theirs(text, candidates, **options))


FORMS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "list": lambda: ([TEXT, "fine"], {"candidate_labels": CANDIDATES}),
    "list of one": lambda: ([TEXT], {"candidate_labels": CANDIDATES}),
    "commas": lambda: (TEXT, {"candidate_labels": "book, hotel ,, software,"}),
    "one label": lambda: (TEXT, {"candidate_labels": "book"}),
    "tuple of labels": lambda: (TEXT, {"candidate_labels": tuple(CANDIDATES)}),
    "generator": lambda: ((text for text in [TEXT, "fine"]), {"candidate_labels": CANDIDATES}),
    "dataset": lambda: (Texts(), {"candidate_labels": CANDIDATES}),
    "too long": lambda: (LONG, {"candidate_labels": CANDIDATES}),
    "batches": lambda: ([TEXT] * 5, {"candidate_labels": CANDIDATES, "batch_size": 2}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_call(ours: Any, theirs: Any, form: str) -> None:
    """Both return the same shapes for every form of texts and labels; both cut the text alone."""
    answers = []
    for side in (ours, theirs):
        sequences, options = FORMS[form]()
        answer = side(sequences, **options)
        answers.append(answer if isinstance(answer, (list, dict)) else list(answer))
    assert_same(*answers)


@pytest.mark.parametrize(
    ("text", "labels", "options"),
    [
        (TEXT, [], {}),
        (TEXT, "", {}),
        ("", CANDIDATES, {}),
        (TEXT, CANDIDATES, {"hypothesis_template": "no place for it"}),
    ],
    ids=["no labels", "empty labels", "empty text", "template without a place"],
)
def test_both_reject_the_same(
    ours: Any, theirs: Any, text: str, labels: Any, options: dict[str, Any]
) -> None:
    """What is an error of transformers is a ValueError here too."""
    for side in (ours, theirs):
        with pytest.raises(ValueError, match=r".+"):
            side(text, labels, **options)


def entailed(text: str, text_pair: str | None) -> dict[str, float]:
    """Return a score that differs by text and hypothesis."""
    return {"entailment": 1 / (len(text) + len(text_pair or ""))}


@pytest.fixture
def reasoner() -> Iterator[FakeServer]:
    """A fake model of natural language inference."""
    with FakeServer(entailed, model="mine") as running:
        yield running


def test_options_given_when_it_is_made(reasoner: FakeServer) -> None:
    """Options of the constructor hold for every call, a call's options replace them, and the rest
    are those of a Client.
    """
    served = classwire.pipeline(
        reasoner.target,
        "mine",
        task="zero-shot-classification",
        candidate_labels="a, b",
        multi_label=True,
        metadata={"x-key": "1"},
    )
    with served:
        served("text")
        served("text", ["c"], multi_label=False, hypothesis_template="{}?", truncation="windows")
    first, second = reasoner.requests
    assert isinstance(first, pb.ZeroShotClassifyRequest)
    assert isinstance(second, pb.ZeroShotClassifyRequest)
    assert (list(first.candidate_labels), first.options.multi_label) == (["a", "b"], True)
    assert first.options.truncation == pb.TRUNCATION_DROP_END
    assert (list(second.candidate_labels), second.options.multi_label) == (["c"], False)
    assert second.options.hypothesis_template == "{}?"
    assert second.options.truncation == pb.TRUNCATION_WINDOWS
    assert [call.metadata["x-key"] for call in reasoner.calls] == ["1", "1"]


def test_several_texts_run_ahead_in_order(reasoner: FakeServer) -> None:
    """Results of an endless generator come in order, while the pipeline reads a few texts ahead;
    the error of a text is raised in its turn.
    """
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        while True:
            given += 1
            yield f"text {given}"

    reasoner.fail_text("text 4", Reason.TOO_MANY_TOKENS)
    with classwire.pipeline(reasoner.target, task="zero-shot-classification") as served:
        results = served(endless(), ["a"])
        for taken in (1, 2, 3):
            assert next(results)["sequence"] == f"text {taken}"
            assert given - taken < 4
        with pytest.raises(InvalidInputError):
            next(results)
        assert served([], ["a"]) == []


def test_leaving_the_results_does_not_wait_for_calls() -> None:
    """When a caller leaves the results, calls that still run do not hold it up."""
    release = threading.Event()
    results = mapped(lambda item: item == 0 or release.wait(600), range(100))
    assert next(results)
    results.close()
    release.set()


@pytest.mark.parametrize(
    ("task", "arguments", "error"),
    [
        ("zero-shot-classification", {"truncation": "longest_first"}, InvalidInputError),
        ("zero-shot-classification", {"top_k": 1}, TypeError),
        ("fill-mask", {}, InvalidInputError),
    ],
)
def test_wrong_options_of_the_pipeline(task: Any, arguments: dict[str, Any], error: Any) -> None:
    """An unknown task, and an option that the task does not have, are errors at once."""
    with pytest.raises(error, match=r"task|truncation|top_k"):
        classwire.pipeline("127.0.0.1:1", task=task, **arguments)


@pytest.mark.parametrize(
    ("sequences", "labels", "error"),
    [(7, "a", TypeError), ([7], "a", TypeError), ("a", None, ValueError)],
)
def test_wrong_inputs_of_the_pipeline(
    reasoner: FakeServer, sequences: Any, labels: Any, error: Any
) -> None:
    """A text that is none, and missing labels, are errors."""
    served = classwire.pipeline(reasoner.target, task="zero-shot-classification")
    with served, pytest.raises(error, match=r"text|candidate_labels"):
        served(sequences, labels)


def test_sentiment_analysis_is_another_name() -> None:
    """`sentiment-analysis` makes the text-classification pipeline, as in transformers."""
    with FakeServer(["yes"]) as server:
        served = classwire.pipeline(server.target, task="sentiment-analysis")
        with served:
            assert served("text") == [{"label": "yes", "score": 1.0}]
