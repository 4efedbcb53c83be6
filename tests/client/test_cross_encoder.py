"""`classwire.CrossEncoder` against sentence-transformers: one checkpoint, and a real server."""

import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import classwire
from classwire import InvalidInputError, Reason, UnknownModelError
from classwire.testing import FakeServer

SENTENCES = (
    "the hotel room was clean but breakfast cold and staff rude terrible software it crashed twice "
    "a day I really love this book good as well fine nothing special 1234567890 ! ? , . Das Buch"
)
WORDS = SENTENCES.split()
LONG = "not so bad " * 300
ABSENT = "the original needs sentence-transformers: the extra `dev`"


def random_text(chance: random.Random, most: int = 30) -> str:
    """Return some random words."""
    return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))


CHANCE = random.Random(7)
PAIRS = [(random_text(CHANCE), random_text(CHANCE)) for _ in range(50)]
QUERY = "was the hotel clean ?"
DOCUMENTS = [text for _, text in PAIRS]


@pytest.fixture(scope="module", params=["reranker", "nli"])
def both(
    request: pytest.FixtureRequest, pairs_target: str, pair_models: dict[str, Path]
) -> Iterator[tuple[Any, Any]]:
    """Return our encoder and that of sentence-transformers, with one label and with three."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("sentence_transformers", reason=ABSENT)
        original = theirs.CrossEncoder(str(pair_models[request.param]), device="cpu")
    with classwire.CrossEncoder(pairs_target, request.param) as ours:
        yield ours, original


OPTIONS: list[dict[str, Any]] = [
    {},
    {"apply_softmax": True},
    {"activation_fn": torch.nn.Sigmoid()},
    {"activation_fn": torch.nn.Identity()},
    {"activation_fn": torch.nn.Sigmoid(), "apply_softmax": True},
    {"convert_to_tensor": True},
    {"batch_size": 7, "show_progress_bar": False},
]
FORMS: dict[str, Callable[[], Any]] = {
    "tuples": lambda: list(PAIRS),
    "lists": lambda: [list(pair) for pair in PAIRS],
    "tuple of pairs": lambda: tuple(PAIRS),
    "array": lambda: numpy.array(PAIRS),
    "one tuple": lambda: PAIRS[0],
    "one list": lambda: list(PAIRS[1]),
    "list of one": lambda: PAIRS[:1],
    "none": lambda: [],
}


def assert_same(ours: Any, theirs: Any) -> None:
    """Assert the same kind of array, the same shape, and numbers equal to 1e-5."""
    assert type(ours) is type(theirs)
    if numpy.size(theirs):
        assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert numpy.asarray(ours) == pytest.approx(numpy.asarray(theirs), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_50_random_pairs_have_the_same_scores(
    both: tuple[Any, Any], options: dict[str, Any]
) -> None:
    """`predict` returns what sentence-transformers returns, for models of one and several
    labels.
    """
    ours, theirs = both
    assert_same(ours.predict(PAIRS, **options), theirs.predict(PAIRS, **options))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input(both: tuple[Any, Any], form: str) -> None:
    """Every form of input returns the same kind of array: a pair alone a number or a row."""
    ours, theirs = both
    assert_same(ours.predict(FORMS[form]()), theirs.predict(FORMS[form]()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pair", [(QUERY, LONG), (LONG, QUERY), (LONG, LONG + LONG)])
def test_texts_that_are_too_long_are_cut_alike(both: tuple[Any, Any], pair: Any) -> None:
    """Both cut from the end, and from the longer text first."""
    ours, theirs = both
    assert_same(ours.predict([pair]), theirs.predict([pair]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"top_k": 0},
        {"return_documents": True, "top_k": 60},
        {"activation_fn": torch.nn.Identity()},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_50_random_documents_have_the_same_order(
    both: tuple[Any, Any], options: dict[str, Any]
) -> None:
    """`rank` returns the same dicts in the same order; both reject a model with several labels."""
    if both[1].num_labels > 1:
        for side in both:
            with pytest.raises(ValueError, match="label"):
                side.rank(QUERY, DOCUMENTS, **options)
        return
    found, expected = (side.rank(QUERY, DOCUMENTS, **options) for side in both)
    assert [list(each) for each in found] == [list(each) for each in expected]
    assert [each["corpus_id"] for each in found] == [each["corpus_id"] for each in expected]
    assert all(type(each["score"]) is float for each in [*found, *expected])
    assert [each["score"] for each in found] == pytest.approx(
        [each["score"] for each in expected], abs=1e-5
    )
    assert [each.get("text") for each in found] == [each.get("text") for each in expected]


@pytest.mark.filterwarnings("ignore")
def test_an_activation_of_the_encoder_holds_for_every_call(
    pairs_target: str, pair_models: dict[str, Path]
) -> None:
    """`activation_fn` of the constructor is the default of every call; a word needs no torch."""
    theirs = pytest.importorskip("sentence_transformers", reason=ABSENT)
    original = theirs.CrossEncoder(
        str(pair_models["reranker"]), device="cpu", activation_fn=torch.nn.Identity()
    )
    for activation in ("identity", torch.nn.Identity()):
        with classwire.CrossEncoder(pairs_target, "reranker", activation_fn=activation) as ours:
            assert_same(ours.predict(PAIRS[:5]), original.predict(PAIRS[:5]))
            assert_same(
                ours.predict(PAIRS[:5], activation_fn="sigmoid"),
                original.predict(PAIRS[:5], activation_fn=torch.nn.Sigmoid()),
            )


def two_labels(text: str, text_pair: str | None) -> dict[str, float]:
    """Return two logits."""
    return {"no": 1.0, "yes": len(text_pair or "") / 4}


def test_lists_of_floats_without_numpy() -> None:
    """Without numpy and torch the results are floats, or lists of them in the order of labels."""
    one_label = FakeServer(lambda text, pair: {"score": 0.0})
    with one_label as server, classwire.CrossEncoder(server.target) as ours:
        assert ours.predict(("a", "b"), convert_to_numpy=False) == 0.5
        assert ours.predict([("a", "b")] * 2, convert_to_numpy=False) == [0.5, 0.5]
    with FakeServer(two_labels) as server, classwire.CrossEncoder(server.target) as ours:
        found = ours.predict([("a", "four" * 2), ("a", "b")], convert_to_numpy=False)
        assert found == [[1.0, 2.0], [1.0, 0.25]]
        even = ours.predict(("a", "four"), convert_to_numpy=False, apply_softmax=True)
        assert even == [0.5, 0.5]


def test_progress_is_shown_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`show_progress_bar` writes to standard error, and nothing is written without it."""
    with FakeServer(["yes"]) as server, classwire.CrossEncoder(server.target) as ours:
        ours.predict([("a", "b")])
        assert capsys.readouterr() == ("", "")
        ours.predict([("a", "b")], show_progress_bar=True)
    out, err = capsys.readouterr()
    assert (out, "Pairs" in err) == ("", True)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ("one text", TypeError),
        ([("a",)], InvalidInputError),
        ([("a", "b", "c")], InvalidInputError),
        (["a", "b", "c"], InvalidInputError),
        ([("a", "b"), "cd"], InvalidInputError),
        ([("a", "b"), ("c", " ")], InvalidInputError),
    ],
)
def test_wrong_inputs_are_errors(inputs: Any, error: type[Exception]) -> None:
    """An input that is no pair of texts is an error, as is a text that fails."""
    with FakeServer(["yes"]) as server, classwire.CrossEncoder(server.target) as ours:
        server.fail_text(" ", Reason.EMPTY_TEXT)
        server.fail_text("c", Reason.EMPTY_TEXT)
        with pytest.raises(error):
            ours.predict(inputs)


def test_arguments_of_the_encoder() -> None:
    """The encoder passes on the model's name and the options of a Client; a `max_length` below the
    model's maximum, and an unknown activation, are errors.
    """
    with FakeServer(["yes"], model="mine") as server:
        with classwire.CrossEncoder(server.target, "mine", metadata={"x-key": "1"}) as ours:
            ours.rank("query", ["document"])
            assert server.calls[0].metadata["x-key"] == "1"
            with pytest.raises(InvalidInputError, match="activation_fn"):
                ours.predict(("a", "b"), activation_fn="relu")  # type: ignore[arg-type]
        other = classwire.CrossEncoder(server.target, "other")
        with other, pytest.raises(UnknownModelError):
            other.predict(("a", "b"))
        for length, fits in ((511, False), (512, True)):
            with classwire.CrossEncoder(server.target, max_length=length) as ours:
                if fits:
                    assert ours.rank("query", ["document"])
                else:
                    with pytest.raises(InvalidInputError, match="max_length"):
                        ours.rank("query", ["document"])


def test_importing_and_ranking_load_neither_torch_nor_numpy() -> None:
    """A program without torch and numpy can rank."""
    with FakeServer(["yes"]) as server:
        program = (
            "import sys, classwire; encoder = classwire.CrossEncoder(sys.argv[1]); "
            "encoder.rank('query', ['document']); "
            "print([name for name in ('torch', 'numpy') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, server.target],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout == "[]\n"
