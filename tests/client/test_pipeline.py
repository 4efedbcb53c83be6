"""`classwire.pipeline` against `transformers.pipeline`: one checkpoint, and a real server."""

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
    """A dataset with a length and no end of its own: what `iter` alone would run past."""

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
    """What a lazy answer holds; anything else as it is."""
    return answer if isinstance(answer, (list, dict)) else list(answer)


def assert_same(ours: Any, theirs: Any) -> None:
    """The same shapes and labels, in the same order, and the same scores to 1e-5."""
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
    """The pipeline of transformers."""
    return transformers.pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=torch.float32, **options
    )


@pytest.fixture(scope="module")
def theirs(embedded_folder: Path) -> Any:
    """In process, with the embedded checkpoint."""
    return in_process(embedded_folder)


@pytest.fixture(scope="module")
def ours(target: str) -> Iterator[Any]:
    """Served, with the embedded checkpoint."""
    with classwire.pipeline(target) as served:
        yield served


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_form_with_every_option(
    ours: Any, theirs: Any, form: str, options: dict[str, Any]
) -> None:
    """The same answer from both."""
    make = FORMS[form]
    assert_same(listed(ours(make(), **options)), listed(theirs(make(), **options)))


@pytest.mark.parametrize("form", ["text", "list", "dict"])
@pytest.mark.parametrize("given", [{"top_k": None}, {"top_k": 2}, {"function_to_apply": "none"}])
def test_options_given_when_it_is_made(
    target: str, embedded_folder: Path, form: str, given: dict[str, Any]
) -> None:
    """They hold for every call, a call's own replace them, and the shapes follow suit."""
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
    """From the end, and pairs from the longer text first."""
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
    """The default activation, and every other one, is transformers' own for each problem type."""
    folder = checkpoint("bert", **kind)
    theirs = in_process(folder)
    with classwire.pipeline(serve(model=(str(folder),)).target) as ours:
        for function in (None, "sigmoid", "softmax", "none"):
            options: dict[str, Any] = {"function_to_apply": function}
            assert_same(ours(TEXTS, **options), theirs(TEXTS, **options))
            assert_same(ours(TEXTS, top_k=None, **options), theirs(TEXTS, top_k=None, **options))


def test_a_generator_is_read_lazily(target: str) -> None:
    """Results come while the input has no end; the input is read ahead by a window at most."""
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
    """As progress bars want; a generator has none on either side."""
    assert len(ours(Rows())) == len(theirs(Rows())) == len(TEXTS)
    for side in (ours, theirs):
        iter_once = (text for text in TEXTS)
        with pytest.raises(TypeError):
            len(side(iter_once))


@pytest.mark.parametrize("bad", [[["a", "b"]], [["a"]], [["a", "b", "c"]]])
def test_a_pair_that_is_no_dict_is_a_value_error(ours: Any, theirs: Any, bad: Any) -> None:
    """On both sides, with a hint at the dict."""
    for side in (ours, theirs):
        with pytest.raises(ValueError, match="text_pair"):
            side(bad)


def test_where_the_two_differ_on_purpose(ours: Any, theirs: Any) -> None:
    """As docs/guides/pipeline.md lists: one side answers where the other refuses or breaks."""
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
def test_what_cannot_be_honoured_is_refused(
    ours: Any, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """Rather than passed over: the scores would not be those that were asked for."""
    with pytest.raises(error):
        ours("text", **arguments)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (None, TypeError),
        (7, TypeError),
        ([None], TypeError),
        ({"text_pair": "b"}, ValueError),
        ({"role": "user", "content": "a"}, ValueError),
        ([{"text": "a", "pair": "b"}], ValueError),
    ],
)
def test_what_is_no_input_is_refused(ours: Any, inputs: Any, error: type[Exception]) -> None:
    """With an error at the call."""
    with pytest.raises(error):
        ours(inputs)


def test_the_error_of_a_text_is_raised() -> None:
    """After the results before it, wherever it stands."""
    with FakeServer(["yes"]) as server, classwire.pipeline(server.target) as ours:
        server.fail_text("bad", Reason.TOO_MANY_TOKENS)
        with pytest.raises(InvalidInputError):
            ours(["good", "bad", "good"])
        results = iter(ours(text for text in ["good", "bad", "good"]))
        assert next(results) == {"label": "yes", "score": 1.0}
        with pytest.raises(InvalidInputError):
            next(results)


def test_model_and_client_options_are_passed_on() -> None:
    """The name of the model, and all that a Client takes."""
    with FakeServer(["yes"], model="mine") as server:
        with classwire.pipeline(server.target, "mine", metadata={"x-key": "1"}) as ours:
            ours("text")
            ours(["text"])
        assert [call.metadata["x-key"] for call in server.calls] == ["1", "1"]
        with classwire.pipeline(server.target, "other") as ours, pytest.raises(UnknownModelError):
            ours("text")
