"""The formats of `classwire classify --file`'s results."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from classwire.testing import FakeServer
from tests.cli.conftest import Run

CSV = 'key,text\n"a,\r""b""",good\n7,poor\n,\n'


def good_or_bad(text: str, pair: str | None) -> dict[str, float]:
    """Classify with a score that float32 rounds, on a fake server."""
    return {"good": 0.1, 'bad, "so"': 0.9} if text == "poor" else {"good": 2 / 3}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Yield a fake server with two labels, one of which has to be quoted."""
    with FakeServer(good_or_bad) as running:
        running.model.labels.extend(['bad, "so"', "good"])
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a CSV file of three rows, the last of which has no text and no id."""
    path = tmp_path / "in.csv"
    path.write_bytes(CSV.encode())
    return path


def test_a_table_has_a_row_for_each_text_and_a_column_for_each_label(
    classwire: Run, server: FakeServer, source: Path, tmp_path: Path
) -> None:
    """A .csv or .tsv output is a table with a header: id, best label, error, and all scores, in the
    shortest form of a float32.
    """
    command = ["classify", "--target", server.target, "--file", str(source), "--column", "text"]
    for name, delimiter in (("out.csv", ","), ("out.tsv", "\t")):
        output = tmp_path / name
        ended = classwire(*command, "--id-column", "key", "--output", str(output))
        assert (ended.code, ended.out) == (1, "")
        with output.open(encoding="utf-8", newline="") as file:
            first, second, third = csv.DictReader(file, delimiter=delimiter)
        assert first == {
            "row": "0",
            "id": 'a,\r"b"',
            "label": "good",
            "score": "0.6666667",
            "error_reason": "",
            "error_message": "",
            'score_bad, "so"': "",
            "score_good": "0.6666667",
        }
        assert list(second.values()) == ["1", "7", 'bad, "so"', "0.9", "", "", "0.9", "0.1"]
        assert list(third.values())[:5] == ["2", "", "", "", "EMPTY_TEXT"]
        assert "EMPTY_TEXT" in third["error_message"]


@pytest.mark.parametrize(
    "command", [["classify"], ["zero-shot", "--label", "good"]], ids=["classify", "zero-shot"]
)
def test_json_is_the_format_of_standard_output_alone(
    classwire: Run, source: Path, tmp_path: Path, command: list[str]
) -> None:
    """--json with --file prints JSON lines; with --output, whose name says the format, it is an
    error, and nothing is written.
    """
    with FakeServer(lambda text, pair: {"contradiction": 0.2, "entailment": 0.8}) as server:
        command = [*command, "--target", server.target, "--file", str(source)]
        command += ["--column", "text", "--json"]
        output = tmp_path / "out.csv"
        ended = classwire(*command, "--output", str(output))
        assert ended.code == 2
        assert "--json does not go with --output" in ended.complaint
        assert not output.exists()

        ended = classwire(*command)
        rows = [json.loads(line)["row"] for line in ended.out.splitlines()]
        assert (ended.code, rows) == (1, [0, 1, 2])


def test_a_table_of_best_labels_has_no_column_for_each(
    classwire: Run, server: FakeServer, source: Path, tmp_path: Path
) -> None:
    """With --top-k 1 the columns of the labels, which would be empty, are not there."""
    output = tmp_path / "out.csv"
    command = ["classify", "--target", server.target, "--file", str(source), "--column", "text"]
    assert classwire(*command, "--top-k", "1", "--output", str(output)).code == 1
    assert output.read_text().splitlines()[:2] == [
        "row,label,score,error_reason,error_message",
        "0,good,0.6666667,,",
    ]
    ended = classwire(*command, "--output", str(output), "--resume")
    assert (ended.code, len(output.read_text().splitlines())) == (2, 4)
    assert "line 1 has the labels of another model or of other options" in ended.complaint


@pytest.mark.parametrize(
    ("labels", "code", "message"),
    [
        ([], 1, "the labels of fake are not known yet"),
        (["good", "good"], 2, "labels of fake have the same name: write .jsonl instead"),
        (["good", "other"], 1, "the model's labels changed during the run"),
    ],
)
def test_a_table_needs_the_labels(
    classwire: Run,
    server: FakeServer,
    source: Path,
    tmp_path: Path,
    labels: list[str],
    code: int,
    message: str,
) -> None:
    """A table whose columns would be wrong is an error; JSON Lines need no labels."""
    output = tmp_path / "out.csv"
    server.model.labels[:] = labels
    command = ["classify", "--target", server.target, "--file", str(source), "--column", "text"]
    ended = classwire(*command, "--output", str(output))
    assert ended.code == code
    assert message in ended.err.splitlines()[-1]
    assert output.exists() is ("other" in labels)
    assert classwire(*command, "--output", str(tmp_path / "out.ndjson")).code == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.txt", "unknown format of results; known suffixes are .csv, .tsv, .jsonl, .ndjson"),
        ("out", "unknown format of results"),
        ("out.csv.gz", "results are not compressed; pipe them through gzip"),
    ],
)
def test_another_suffix_is_rejected_before_any_work(
    classwire: Run, unanswered_target: str, source: Path, tmp_path: Path, name: str, message: str
) -> None:
    """An output whose name stands for no format is an error before a call and before a file."""
    command = ["classify", "--target", unanswered_target, "--file", str(source), "--column", "text"]
    ended = classwire(*command, "--output", str(tmp_path / name))
    assert (ended.code, (tmp_path / name).exists()) == (2, False)
    assert message in ended.complaint


def test_a_device_takes_json_lines(classwire: Run, server: FakeServer, source: Path) -> None:
    """An output that is no file, such as /dev/null, needs no suffix."""
    command = ["classify", "--target", server.target, "--file", str(source), "--column", "text"]
    assert classwire(*command, "--output", "/dev/null").err.startswith("3 rows, ")


def test_what_is_written_is_valid_json(classwire: Run, tmp_path: Path) -> None:
    """Numbers that JSON has not are null, whether of an id or of a score."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a", "id": NaN}\n{"text": "b", "id": 1e999}\n')
    with FakeServer(lambda text, pair: {"x": math.inf}) as server:
        command = ["classify", "--target", server.target, "--file", str(source)]
        ended = classwire(*command, "--column", "text", "--id-column", "id")
    first, second = (
        json.loads(line, parse_constant=pytest.fail) for line in ended.out.split("\n")[:2]
    )
    assert (first["id"], first["score"]) == (None, None)
    assert "no id that JSON can hold" in second["error"]["message"]


def test_lines_for_pipes(classwire: Run, server: FakeServer, source: Path) -> None:
    """--tsv prints label, score and text of each text on one line; without a score both are
    empty, and the error is on standard error.
    """
    command = ["classify", "--target", server.target, "--tsv"]
    ended = classwire(*command, "tab\tnew\nline\\ \u2028\x1b", "poor", "")
    assert ended.out.split("\n") == [
        "good\t0.6666667\ttab\\tnew\\nline\\\\ \\u2028\\x1b",
        'bad, "so"\t0.9\tpoor',
        "\t\t",
        "",
    ]
    assert (ended.code, ended.complaint[:8]) == (1, "text 3: ")
    ended = classwire(*command, stdin=b"poor\ncaf\xe9\n")
    assert ended.out.split("\n") == ['bad, "so"\t0.9\tpoor', "\t\t", ""]
    assert ended.complaint.startswith("text 2: ")
    ended = classwire(*command, "poor")
    assert (ended.code, ended.out) == (0, 'bad, "so"\t0.9\tpoor\n')
    ended = classwire(*command, "--file", str(source), "--column", "text")
    assert [line.split("\t")[2] for line in ended.out.splitlines()] == ["good", "poor", ""]
    complaint, summary = ended.err.splitlines()
    assert complaint.startswith("classwire: row 2: ")
    assert summary.startswith("3 rows, ")
