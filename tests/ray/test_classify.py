"""Columns in, columns out: what Classify adds to a batch of rows."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from classwire import Classification, Client, TextInput
from classwire.options import WindowOptions
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, StartError
from classwire_server.server import Server
from tests.chaos.known import by_label
from tests.engine.worker.callers import worker_of
from tests.parity.direct import Direct
from tests.workers import launch_in_process

pytest.importorskip("ray", reason="Ray is not installed: `make test-ray` installs it")

import pyarrow as pa

from classwire_server.ray import Classify

TOLERANCE = 1e-5
TEXTS = [
    "I really love this book",
    "terrible",
    "It's fine; nothing special.",
    "the staff rude " * 9,
]
PAIRS = ["the one before it", None, "cold breakfast", "good"]
LONG = "the breakfast was cold and the staff rude, and twice a day it crashed " * 40


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> str:
    """The folder of a small checkpoint."""
    return str(checkpoint("bert"))


@pytest.fixture(scope="module")
def classify(folder: str) -> Iterator[Classify]:
    """Texts and pairs of the checkpoint, in a process of its own."""
    made = Classify(folder, column="first", pair_column="second", max_text_bytes=2_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def direct(folder: str) -> Direct:
    """The checkpoint in direct use."""
    return Direct.load(Path(folder))


def test_scores_are_those_of_direct_use(classify: Classify, direct: Direct) -> None:
    """Texts and pairs get the scores of transformers, in their rows, and the highest label."""
    table = pa.table({"id": [1, 2, 3, 4], "first": TEXTS, "second": PAIRS})
    scored = classify(table)
    assert scored.column_names == ["id", "first", "second", "label", "score", "scores", "error"]
    assert scored.select(table.column_names).equals(table)
    for row, text, pair in zip(scored.to_pylist(), TEXTS, PAIRS, strict=True):
        expected = direct.scores(text if pair is None else (text, pair))
        assert row["scores"] == pytest.approx(expected, abs=TOLERANCE)
        assert row["label"] == direct.labels[expected.index(max(expected))]
        assert row["score"] == max(row["scores"])
        assert row["error"] is None


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (None, None, "EMPTY_TEXT"),
        (" \n", None, "EMPTY_TEXT"),
        ("good", " ", "EMPTY_TEXT"),
        ("good " * 600, None, "TEXT_TOO_LARGE"),
        ("a b " * 300, None, "TOO_MANY_TOKENS"),
    ],
)
def test_a_bad_row_fails_alone(
    classify: Classify, first: str | None, second: str | None, error: str
) -> None:
    """A row without a usable text has the contract's reason and no scores; its neighbours have
    theirs.
    """
    columns = {"first": ["good", first, "bad"], "second": ["", second, ""]}
    table = pa.table(
        {"first": columns["first"], "second": pa.array([None, second, None], "string")}
    )
    before, row, after = classify(table).to_pylist()
    assert row | {"first": None, "second": None} == {
        **{"first": None, "second": None},
        **{"label": None, "score": None, "scores": None, "error": error},
    }
    assert before["error"] is after["error"] is None
    assert len(before["scores"]) == len(after["scores"]) == len(classify.labels)


def test_no_rows_have_the_same_columns(classify: Classify) -> None:
    """A batch without rows has the columns, in their types, that other batches have."""
    schema = pa.schema({"first": pa.string(), "second": pa.string()})
    scored = classify(schema.empty_table())
    assert [str(field.type) for field in scored.schema][2:] == [
        *("string", "float", "list<item: float>", "string")
    ]


def test_a_killed_worker_is_replaced(classify: Classify, direct: Direct) -> None:
    """A batch after the model's process was killed has its scores: another process computes it."""
    os.kill(worker_of(os.getpid()), signal.SIGKILL)
    table = pa.table({"first": TEXTS[:1], "second": pa.array([None], "string")})
    [row] = classify(table).to_pylist()
    assert row["scores"] == pytest.approx(direct.scores(TEXTS[0]), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"first": ["a"]}, "no column 'second'; there is first"),
        ({"first": [1], "second": ["a"]}, "column 'first' has values of type int64, not texts"),
        ({"first": ["a"], "second": ["b"], "label": [0]}, "'label' already; give a prefix"),
    ],
)
def test_wrong_columns_are_named(
    classify: Classify, table: dict[str, list[Any]], problem: str
) -> None:
    """A batch without the columns that it needs ends the job, and the error names the column."""
    with pytest.raises(ValueError, match=problem):
        classify(pa.table(table))


def test_a_batch_of_another_format_is_refused(classify: Classify) -> None:
    """A batch that is no Arrow table ends the job, and the error says what to do."""
    with pytest.raises(ValueError, match='batch_format="pyarrow"'):
        classify({"first": ["a"]})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window_tokens": 40, "overlap_tokens": 7},
        {"window_tokens": 64, "aggregation": "max_score"},
    ],
)
def test_windows_are_those_of_the_server(folder: str, options: WindowOptions) -> None:
    """A text longer than the model gets the scores that the server gives for its windows, alone and
    in a pair; a prefix goes before the names of the new columns.
    """
    made = Classify(
        folder,
        pair_column="pair",
        prefix="its_",
        windows=options,
        truncation="windows",
    )
    texts = [LONG, "good", LONG]
    pairs = [None, LONG, "a good book"]
    scored = made(pa.table({"text": texts, "pair": pairs}))
    made.close()
    config = ServerConfig(port=0, model=(f"tiny={folder}",))
    with Server(config, launch_in_process) as server, Client(server.target) as client:
        answers = client.classify_batch(
            [TextInput(text, pair) for text, pair in zip(texts, pairs, strict=True)],
            truncation="windows",
            **options,
        )
    for row, answer in zip(scored.to_pylist(), answers, strict=True):
        assert isinstance(answer, Classification)
        assert row["its_scores"] == pytest.approx(by_label(answer), abs=TOLERANCE)
    assert max(answer.window_count for answer in answers if answer.ok) > 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"windows": {"window_tokens": 32}}, ConfigError),
        ({"truncation": "windows", "windows": {"window_tokens": 2}}, ValueError),
        ({"truncation": "windows", "windows": {"overlap_tokens": 400}}, ValueError),
    ],
)
def test_wrong_windows_are_refused(
    folder: str, settings: dict[str, Any], error: type[Exception]
) -> None:
    """Windows that the model cannot have, or that would have no effect, are an error at start."""
    with pytest.raises(error):
        Classify(folder, **settings)


@pytest.mark.parametrize("settings", [{"precision": "int7"}, {"no_such_setting": 1}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    """An unknown setting, or a wrong value, is an error before anything is loaded."""
    with pytest.raises(ConfigError):
        Classify("no-such-folder", **settings)


def test_a_missing_checkpoint_is_refused() -> None:
    """A folder that is not there is an error that names it."""
    with pytest.raises(StartError, match="no/such/folder/at/all"):
        Classify("no/such/folder/at/all")
