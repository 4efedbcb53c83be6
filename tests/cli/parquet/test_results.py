"""`classwire classify --file` and `zero-shot --file` from Parquet into Parquet."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from classwire import Reason
from classwire.cli.rows.parquet import RowGroups
from classwire.testing import FakeServer
from tests.cli.conftest import Run
from tests.cli.parquet.tables import by_length, saved

ERROR = pa.struct([(name, pa.string()) for name in ("code", "reason", "message", "field")])


def score_type(label_number: str) -> pa.DataType:
    """Return the type of a list of scores, which number their labels under `label_number`."""
    return pa.list_(
        pa.struct([("label", pa.string()), (label_number, pa.int32()), ("score", pa.float32())])
    )


def test_the_output_has_all_columns_and_those_of_results(classwire: Run, tmp_path: Path) -> None:
    """The output has the rows, row groups, columns and metadata of the input, and behind them the
    columns of results with their exact types; each row has scores or an error.
    """
    when = pa.array([1, 2, 3, 4, 5], pa.timestamp("ms", "UTC"))
    table = pa.table(
        {
            "when": when,
            "text": pa.array(["good", None, "", "fine", "bad"]).dictionary_encode(),
            "tags": [["a"], [], None, ["b", "c"], []],
            "other": ["x", "y", None, None, "zzz"],
        },
        metadata={"origin": "of the test"},
    )
    source, output = saved(tmp_path / "in.parquet", table), tmp_path / "out.parquet"
    with FakeServer(by_length) as server:
        server.fail_text("", Reason.EMPTY_TEXT)
        columns = ["--column", "text", "--pair-column", "other"]
        files = ["--file", str(source), *columns, "--output", str(output)]
        ended = classwire("classify", "--target", server.target, *files)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("5 rows, ")
    assert ", 2 errors, " in ended.err

    found = parquet.read_table(output)
    assert parquet.ParquetFile(output).metadata.num_row_groups == 3
    assert found.select(table.column_names).equals(table)
    assert found.schema.metadata[b"origin"] == b"of the test"
    added = found.drop_columns(table.column_names)
    assert added.schema.remove_metadata() == pa.schema(
        {
            "label": pa.string(),
            "score": pa.float32(),
            "scores": score_type("label_id"),
            "error": ERROR,
        }
    )
    first, missing, empty, fine, last = added.to_pylist()
    assert (first["label"], first["error"]) == ("short", None)
    assert first["score"] == pytest.approx(0.2, abs=1e-7)
    assert [(s["label"], s["label_id"]) for s in last["scores"]] == [("short", 0), ("pair", 1)]
    assert last["scores"][1]["score"] == pytest.approx(0.03, abs=1e-7)
    assert fine["scores"][1]["score"] == 0.0
    assert missing == {
        "label": None,
        "score": None,
        "scores": None,
        "error": {
            "code": "INVALID_ARGUMENT",
            "reason": "EMPTY_TEXT",
            "message": "row 1 has no 'text'",
            "field": "text",
        },
    }
    assert (empty["scores"], empty["error"]["reason"]) == (None, "EMPTY_TEXT")
    assert not list(tmp_path.glob("*.parts"))


def test_the_metadata_says_what_the_results_depend_on(classwire: Run, tmp_path: Path) -> None:
    """The file's metadata has the input's digest, the model and the options that were given."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": ["a"]}))
    output = tmp_path / "out.parquet"
    with FakeServer(["x"]) as server:
        options = ["--file", str(source), "--column", "t", "--top-k", "1", "--output", str(output)]
        assert classwire("classify", "--target", server.target, *options).code == 0
    found = json.loads(parquet.read_schema(output).metadata[b"classwire"])
    expected = {
        "input": hashlib.sha256(source.read_bytes()).hexdigest(),
        "model": "fake",
        "fingerprint": "0" * 64,
        "column": "t",
        "top_k": 1,
    }
    assert {name: found[name] for name in expected} == expected


def test_scores_are_those_of_json_lines(classwire: Run, tmp_path: Path) -> None:
    """A file of Parquet into JSON Lines has numbers, ids and results as a file of JSON has, and the
    Parquet output the same floats.
    """
    texts = ["good", "bad " * 40, None, "fine"]
    source = saved(tmp_path / "in.parquet", pa.table({"t": texts, "n": [7, 8, 9, 10]}))
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(json.dumps({"t": t, "n": n + 7}) + "\n" for n, t in enumerate(texts)))
    with FakeServer(by_length) as server:
        command = ["classify", "--target", server.target, "--column", "t"]
        found = [
            classwire(*command, "--id-column", "n", "--file", str(path)).records
            for path in (source, lines)
        ]
        output = tmp_path / "out.parquet"
        assert classwire(*command, "--file", str(source), "--output", str(output)).code == 1
    found[0][2]["error"]["message"] = found[1][2]["error"]["message"]
    assert found[0] == found[1]
    for row, record in zip(parquet.read_table(output).to_pylist(), found[0], strict=True):
        assert row["label"] == record.get("label")
        if record.get("score") is not None:
            assert row["score"] == pa.scalar(record["score"], pa.float32()).as_py()


def test_windows_are_a_column(classwire: Run, tmp_path: Path) -> None:
    """With --windows a column has each window's place and scores."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": ["a b c d", None, "a"]}))
    output = tmp_path / "out.parquet"
    with FakeServer(["x"]) as server:
        windows = ["--truncation", "windows", "--windows", "--window-tokens", "2"]
        files = ["--file", str(source), "--column", "t", "--output", str(output)]
        assert classwire("classify", "--target", server.target, *files, *windows).code == 1
    found = parquet.read_table(output)
    assert found.column_names == ["t", "label", "score", "scores", "windows", "error"]
    many, none, one = found.column("windows").to_pylist()
    assert [(window["start"], window["end"]) for window in many] == [(0, 3), (4, 7)]
    assert many[0]["token_count"] == 2
    assert many[0]["scores"] == [1.0]
    assert (none, len(one)) == (None, 1)


def test_zero_shot_has_the_index_of_the_candidate(classwire: Run, tmp_path: Path) -> None:
    """`zero-shot` writes the same columns; a score has the index of its candidate."""

    def entailed(text: str, pair: str | None) -> dict[str, float]:
        share = 0.75 if (pair or "").split()[-1].strip(".") in text else 0.25
        return {"contradiction": 1 - share, "entailment": share}

    source = saved(tmp_path / "in.parquet", pa.table({"t": ["late delivery", None, "billing"]}))
    output = tmp_path / "out.parquet"
    with FakeServer(entailed) as server:
        labels = ["--label", "billing", "--label", "delivery"]
        files = ["--file", str(source), "--column", "t", "--output", str(output)]
        assert classwire("zero-shot", "--target", server.target, *labels, *files).code == 1
    found = parquet.read_table(output)
    assert found.schema.field("scores").type == score_type("index")
    assert found.column("label").to_pylist() == ["delivery", None, "billing"]
    assert [s["index"] for s in found.column("scores")[0].as_py()] == [1, 0]


def test_rank_reads_parquet(classwire: Run, tmp_path: Path) -> None:
    """`rank --file` reads documents from Parquet."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": ["a", "bbb", "cc"], "n": [1, 2, 3]}))
    with FakeServer(lambda text, pair: {"fits": len(pair or "") / 10}) as server:
        server.model.labels.append("fits")
        files = ["--file", str(source), "--column", "t", "--id-column", "n"]
        ended = classwire("rank", "query", "--target", server.target, *files, "--json")
    assert [record["id"] for record in ended.records] == [2, 3, 1]


def test_names_that_are_taken_need_a_prefix(classwire: Run, tmp_path: Path) -> None:
    """A column of the input with the name of a result is an error that names --prefix, which then
    begins all names.
    """
    table = pa.table({"text": ["good"], "label": [1], "pre_x": [2]})
    source, output = saved(tmp_path / "in.parquet", table), tmp_path / "out.parquet"
    with FakeServer(["x"]) as server:
        command = ["classify", "--target", server.target, "--file", str(source)]
        command += ["--column", "text", "--output", str(output)]
        ended = classwire(*command)
        assert (ended.code, output.exists(), server.requests) == (2, False, [])
        assert "has a column 'label' already; " in ended.complaint
        assert "--prefix predicted_" in ended.complaint
        assert classwire(*command, "--prefix", "pre_").code == 0
    names = parquet.read_schema(output).names
    assert names == [*table.column_names, "pre_label", "pre_score", "pre_scores", "pre_error"]


def test_a_file_without_rows_has_an_output_without_rows(classwire: Run, tmp_path: Path) -> None:
    """The output of an empty file has all columns and no row."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": pa.array([], pa.string())}))
    output = tmp_path / "out.parquet"
    with FakeServer(["x"]) as server:
        files = ["--file", str(source), "--column", "t", "--output", str(output)]
        ended = classwire("classify", "--target", server.target, *files)
    assert ended.code == 0
    assert ended.err.startswith("0 rows, ")
    assert parquet.read_table(output).shape == (0, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--column", "body"], "has no column 'body'; the columns are: t, n"),
        (["--column", "n"], "column 'n' holds no text but int64"),
        (["--column", "t", "--id-column", "n"], "--id-column is not for results in Parquet"),
        (
            ["--column", "t", "--output", "OUT/no/where.parquet"],
            "where: no such folder|no: no such",
        ),
        (["--column", "t", "--output", "OUT"], "is a folder"),
        (["--column", "t", "--output", "OUT/in.parquet"], "is the file to read"),
        (["--column", "t", "--output", "OUT/x.jsonl", "--prefix", "p_"], "--prefix is for results"),
        (["--file", "OUT/x.csv", "--column", "t"], "results in Parquet need a --file in Parquet"),
    ],
)
def test_wrong_use_is_named_before_anything_is_written(
    classwire: Run, tmp_path: Path, unanswered_target: str, options: list[str], message: str
) -> None:
    """A wrong column, option or output is one line and exit code 2, without a call or a file."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": ["a"], "n": [1]}))
    (tmp_path / "x.csv").write_text("t\na\n")
    before = sorted(tmp_path.rglob("*"))
    given: dict[str, Any] = {"--file": str(source), "--output": str(tmp_path / "out.parquet")}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    arguments = [str(each).replace("OUT", str(tmp_path)) for pair in given.items() for each in pair]
    ended = classwire("classify", "--target", unanswered_target, *arguments)
    assert (ended.code, ended.out, sorted(tmp_path.rglob("*"))) == (2, "", before)
    assert any(part in ended.complaint for part in message.split("|"))


def test_at_most_two_row_groups_are_in_memory(
    classwire: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row group is read only when all rows before it are on their way to the server, and so when
    the one before the last has its results.
    """
    source = saved(tmp_path / "in.parquet", pa.table({"t": [str(n) for n in range(60)]}), rows=10)
    read: list[int] = []
    ahead: list[int] = []
    table = RowGroups.table

    def counted(groups: RowGroups, group: int) -> pa.Table:
        read.append(group)
        return table(groups, group)

    monkeypatch.setattr(RowGroups, "table", counted)

    def answer(text: str, pair: str | None) -> dict[str, float]:
        ahead.append(len(read) - int(text) // 10)
        return {"x": 1.0}

    with FakeServer(answer, window_items=4, max_items_per_message=1) as server:
        files = ["--file", str(source), "--column", "t", "--output", str(tmp_path / "out.parquet")]
        assert classwire("classify", "--target", server.target, *files).code == 0
    assert read == list(range(6))
    assert len(ahead) == 60
    assert max(ahead) <= 2


def test_a_stream_that_is_rejected_leaves_nothing(classwire: Run, tmp_path: Path) -> None:
    """Where the server rejects the options, there is one line, and neither output nor parts."""
    source = saved(tmp_path / "in.parquet", pa.table({"t": ["a"]}))
    with FakeServer(["x"]) as server:
        files = ["--file", str(source), "--column", "t", "--output", str(tmp_path / "out.parquet")]
        ended = classwire("classify", "--target", server.target, *files, "--windows")
    assert ended.code == 2
    assert "windows: " in ended.complaint
    assert list(tmp_path.iterdir()) == [source]
