"""`classwire.pipeline` against `transformers.pipeline`: one checkpoint, and a real server."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.pipelines.pt_utils import KeyDataset

import classwire
from classwire import Client, InvalidInputError, Reason, UnknownModelError
from classwire.testing import FakeServer
from classwire_server.server import Server

TEXTS = ["I really love this book", "terrible", "The soles came off after a week, twice.", "ok"]
LONG = "not so bad " * 300


class Rows(torch.utils.data.Dataset[dict[str, str]]):
    """A dataset with a length whose `__getitem__` never ends, so that `iter` alone would
    overrun.
    """

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> dict[str, str]:
        return {"text": TEXTS[index % len(TEXTS)]}


FORMS: dict[str, Callable[[], Any]] = {
    "text": lambda: TEXTS[0],
    "list": lambda: list(TEXTS),
    "list of one": lambda: TEXTS[:1],
    "dict": lambda: {"text": TEXTS[0], "text_pair": TEXTS[1]},
    "dict without a pair": lambda: {"text": TEXTS[0]},
    "dict with None": lambda: {"text": TEXTS[0], "text_pair": None},
    "list of dicts": lambda: [{"text": TEXTS[0], "text_pair": TEXTS[1]}, {"text": TEXTS[2]}],
    "mixed list": lambda: [TEXTS[0], {"text": TEXTS[1], "text_pair": TEXTS[2]}],
    "nested pair": lambda: [[[TEXTS[0], TEXTS[1]]]],
    "generator": lambda: (text for text in TEXTS),
    "generator of dicts": lambda: ({"text": text, "text_pair": "pair"} for text in TEXTS),
    "dataset": Rows,
    "column of a dataset": lambda: KeyDataset(Rows(), "text"),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": None},
    {"top_k": 1},
    {"top_k": 2},
    {"top_k": 99},
    {"top_k": 0},
    {"top_k": -1},
    {"function_to_apply": "sigmoid"},
    {"function_to_apply": "SOFTMAX"},
    {"function_to_apply": "none", "top_k": None},
    {"truncation": True},
    {"truncation": "longest_first", "top_k": 3},
    {"truncation": False},
    {"truncation": True, "max_length": 512},
    {"batch_size": 2, "padding": True},
]


def listed(answer: Any) -> Any:
    """Return a lazy result as a list, and anything else as it is."""
    return answer if isinstance(answer, (list, dict)) else list(answer)


def assert_same(ours: Any, theirs: Any) -> None:
    """Assert equal shapes, labels and order, and scores equal to 1e-5."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs) == ["label", "score"]
        assert ours["label"] == theirs["label"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)
    else:
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            assert_same(our, their)


def in_process(folder: Path, **options: Any) -> Any:
    """Return the pipeline of transformers."""
    return transformers.pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=torch.float32, **options
    )


@pytest.fixture(scope="module")
def theirs(embedded_folder: Path) -> Any:
    """Return the transformers pipeline with the embedded checkpoint, in this process."""
    return in_process(embedded_folder)


@pytest.fixture(scope="module")
def ours(target: str) -> Iterator[Any]:
    """Return the Classwire pipeline with the embedded checkpoint, over a server."""
    with classwire.pipeline(target) as served:
        yield served


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_form_with_every_option(
    ours: Any, theirs: Any, form: str, options: dict[str, Any]
) -> None:
    """Both pipelines return the same for every form of input and every option."""
    make = FORMS[form]
    assert_same(listed(ours(make(), **options)), listed(theirs(make(), **options)))


@pytest.mark.parametrize("form", ["text", "list", "dict"])
@pytest.mark.parametrize("given", [{"top_k": None}, {"top_k": 2}, {"function_to_apply": "none"}])
def test_options_given_when_it_is_made(
    target: str, embedded_folder: Path, form: str, given: dict[str, Any]
) -> None:
    """Options given to the constructor hold for every call, and a call's options replace them."""
    make = FORMS[form]
    theirs = in_process(embedded_folder, **given)
    with classwire.pipeline(target, **given) as ours:
        assert_same(ours(make()), theirs(make()))
        assert_same(ours(make(), top_k=3), theirs(make(), top_k=3))
        function = "sigmoid"
        answer = theirs(make(), function_to_apply=function)
        assert_same(ours(make(), function_to_apply=function), answer)


@pytest.mark.parametrize(
    "options", [{"truncation": True}, {"truncation": True, "max_length": 512}, {"max_length": 512}]
)
@pytest.mark.parametrize("make", [lambda: LONG, lambda: {"text": LONG, "text_pair": LONG + LONG}])
def test_texts_that_are_too_long_are_cut_alike(
    ours: Any, theirs: Any, options: dict[str, Any], make: Callable[[], Any]
) -> None:
    """Both pipelines truncate alike: from the end, and pairs from the longer text first."""
    assert_same(ours(make(), top_k=None, **options), theirs(make(), top_k=None, **options))


@pytest.mark.parametrize(
    "kind",
    [
        {"labels": ("toxic", "rude", "spam"), "problem_type": "multi_label_classification"},
        {"labels": ("no", "yes"), "problem_type": "single_label_classification"},
        {"labels": ("score",)},
        {"labels": ("score",), "problem_type": "regression"},
        {"labels": ("x", "y"), "problem_type": "regression"},
    ],
    ids=lambda kind: f"{kind.get('problem_type')} of {len(kind['labels'])}",
)
def test_every_kind_of_model(
    serve: Callable[..., Server], checkpoint: Callable[..., Path], kind: dict[str, Any]
) -> None:
    """Every activation gives transformers' scores, for each problem type."""
    folder = checkpoint("bert", **kind)
    theirs = in_process(folder)
    with classwire.pipeline(serve(model=(str(folder),)).target) as ours:
        for function in (None, "sigmoid", "softmax", "none"):
            options: dict[str, Any] = {"function_to_apply": function}
            assert_same(ours(TEXTS, **options), theirs(TEXTS, **options))
            assert_same(ours(TEXTS, top_k=None, **options), theirs(TEXTS, top_k=None, **options))


def test_a_generator_is_read_lazily(target: str) -> None:
    """Results of an endless generator come while the client reads at most a window ahead."""
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        while True:
            given += 1
            yield TEXTS[0]

    with classwire.pipeline(target) as ours, Client(target) as client:
        limits = client.model().limits
        assert limits is not None
        window = limits.stream_window_items
        results = iter(ours(endless()))
        for taken in range(1, 11):
            assert next(results)["label"]
            assert given - taken <= window
        results.close()


def test_a_dataset_has_a_length(ours: Any, theirs: Any) -> None:
    """A result of a dataset has a length; a result of a generator has none, in both pipelines."""
    assert len(ours(Rows())) == len(theirs(Rows())) == len(TEXTS)
    for side in (ours, theirs):
        iter_once = (text for text in TEXTS)
        with pytest.raises(TypeError):
            len(side(iter_once))


@pytest.mark.parametrize("bad", [[["a", "b"]], [["a"]], [["a", "b", "c"]]])
def test_a_pair_that_is_no_dict_is_a_value_error(ours: Any, theirs: Any, bad: Any) -> None:
    """Both pipelines raise ValueError for a pair that is not a dict, with a hint at the dict."""
    for side in (ours, theirs):
        with pytest.raises(ValueError, match="text_pair"):
            side(bad)


def test_where_the_two_differ_on_purpose(ours: Any, theirs: Any) -> None:
    """The intended differences are those of docs/guides/pipeline.md."""
    assert theirs("")
    with pytest.raises(InvalidInputError) as raised:
        ours("")
    assert raised.value.reason is Reason.EMPTY_TEXT
    with pytest.raises(RuntimeError):
        theirs(LONG)
    with pytest.raises(InvalidInputError) as raised:
        ours(LONG)
    assert raised.value.reason is Reason.TOO_MANY_TOKENS
    with pytest.raises(IndexError):
        theirs([])
    assert ours([]) == []
    assert list(ours(iter(()))) == []
    other_key = [{"text": TEXTS[0], "pair": TEXTS[1]}]
    assert theirs(other_key)
    with pytest.raises(ValueError, match="no other key"):
        ours(other_key)
    assert_same(ours(tuple(TEXTS)), theirs(TEXTS))
    assert_same(listed(ours(map(str.upper, TEXTS))), theirs([text.upper() for text in TEXTS]))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"function_to_apply": "default"}, InvalidInputError),
        ({"truncation": "only_first"}, InvalidInputError),
        ({"max_length": 5}, InvalidInputError),
        ({"add_special_tokens": False}, TypeError),
    ],
)
def test_unsupported_options_are_rejected(
    ours: Any, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """An option that the server cannot honour raises an error, since scores would differ
    silently.
    """
    with pytest.raises(error):
        ours("text", **arguments)


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        7,
        [None],
        [math.nan],
        ["good", 7],
        [b"bytes"],
        {"text": None},
        {"text": "a", "text_pair": math.nan},
        [{"text": 7}],
        {"text_pair": "b"},
        {"role": "user", "content": "a"},
    ],
    ids=str,
)
def test_invalid_inputs_are_rejected(ours: Any, theirs: Any, inputs: Any) -> None:
    """Both pipelines raise ValueError for an input that is no text, such as NaN of a table."""
    for side in (ours, theirs):
        with pytest.raises(ValueError, match="text"):
            side(inputs)


def test_the_error_of_a_text_is_raised() -> None:
    """The error of a text is raised after the results before it."""
    with FakeServer(["yes"]) as server, classwire.pipeline(server.target) as ours:
        server.fail_text("bad", Reason.TOO_MANY_TOKENS)
        with pytest.raises(InvalidInputError):
            ours(["good", "bad", "good"])
        results = iter(ours(text for text in ["good", "bad", "good"]))
        assert next(results) == {"label": "yes", "score": 1.0}
        with pytest.raises(InvalidInputError):
            next(results)


def test_model_and_client_options_are_passed_on() -> None:
    """The pipeline passes on the model's name and all options of a Client."""
    with FakeServer(["yes"], model="mine") as server:
        with classwire.pipeline(server.target, "mine", metadata={"x-key": "1"}) as ours:
            ours("text")
            ours(["text"])
        assert [call.metadata["x-key"] for call in server.calls] == ["1", "1"]
        with classwire.pipeline(server.target, "other") as ours, pytest.raises(UnknownModelError):
            ours("text")
