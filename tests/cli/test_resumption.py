"""`classwire classify --file --resume` continues an interrupted run."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from classwire import Reason
from classwire.testing import FakeServer
from tests.cli.conftest import Run

CSV = 'id,text\nx1,"two\nlines"\nx\u00e92,three\n'
IDS_OF_TWO_LINES = 'id,text\n"x\n""1",one\n"x\n2",\n'
COLUMNS = ["--column", "text", "--id-column", "id"]


def by_length(text: str, pair: str | None) -> dict[str, float]:
    """Classify by the length of the text."""
    return {"s": 1 / len(text)}


def write(path: Path, content: str) -> Path:
    """Write a file with this content, and return its path."""
    path.write_text(content, encoding="utf-8")
    return path


def classified(server: FakeServer) -> int:
    """Return how many texts the server was asked for."""
    return sum(len(request.items.items) for request in server.requests if hasattr(request, "items"))


@pytest.mark.parametrize("name", ["out.jsonl", "out.tsv"])
def test_an_output_cut_anywhere_is_completed(classwire: Run, tmp_path: Path, name: str) -> None:
    """An output cut at any byte is completed to that of a whole run, without classifying whole
    rows again. A table has its header once.
    """
    source, output = tmp_path / "in.csv.gz", tmp_path / name
    source.write_bytes(gzip.compress(IDS_OF_TWO_LINES.encode()))
    with FakeServer(by_length) as server:
        server.model.labels.append("s")
        command = ["classify", "--target", server.target, "--file", str(source), *COLUMNS]
        command += ["--output", str(output)]
        assert classwire(*command).code == 1
        whole = output.read_bytes()
        second = re.search(rb'^({"row": )?1[,\t]', whole, re.MULTILINE)
        assert second
        ends = (second.start(), len(whole))
        for cut in range(len(whole), -1, -2):
            output.write_bytes(whole[:cut])
            before, rows = classified(server), sum(end <= cut for end in ends)
            ended = classwire(*command, "--resume")
            assert (ended.code, output.read_bytes()) == (1, whole)
            assert classified(server) - before == 2 - rows
            assert (f"2 rows ({rows} from before), " if rows else "2 rows, ") in ended.err


def test_a_run_that_broke_is_completed(classwire: Run, tmp_path: Path) -> None:
    """Rows without an answer are not in the output, so that the next run classifies them; errors
    stay.
    """
    source, output = write(tmp_path / "in.txt", "\n" + "a\n" * 99), tmp_path / "out.jsonl"
    with FakeServer(by_length, max_items_per_message=1) as server:
        command = ["classify", "--target", server.target, "--file", str(source)]
        command += ["--output", str(output), "--resume"]
        server.break_stream(Reason.INTERNAL, after_results=10)
        assert classwire(*command).code == 1
        left = output.read_bytes()
        assert left.count(b"\n") == 10
        ended = classwire(*command)
    assert ended.code == 1
    assert "100 rows (10 from before), " in ended.err
    assert ", 1 error, " in ended.err
    lines = output.read_bytes().splitlines()
    assert [line.split(b",")[0] for line in lines] == [b'{"row": %d' % row for row in range(100)]
    assert output.read_bytes().startswith(left)


def test_without_an_output_resuming_starts(classwire: Run, tmp_path: Path) -> None:
    """Without an output `--resume` starts a new one, so that one command serves all runs."""
    source, output = write(tmp_path / "in.txt", "a\nb\n"), tmp_path / "out.jsonl"
    with FakeServer(by_length) as server:
        command = ["classify", "--target", server.target, "--file", str(source)]
        ended = classwire(*command, "--output", str(output), "--resume")
    assert (ended.code, output.read_bytes().count(b"\n")) == (0, 2)
    assert ended.err.startswith("2 rows, ")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("precious", "line 1 is not of row 0"),
        ("precious\n", "line 1 is not of row 0"),
        ('{"row": 0, "id": "x1", "scores": []}\n{"row": 2', "line 2 is not of row 1"),
        ('{"row": 0, "id": "y1", "scores": []}\n', "line 1 is not of row 0"),
        ('{"row": 0, "id": "x1", "scores": []\n', "line 1 was written with other options"),
        ('{"row": 0, "id": "x1", "other": 1}\n', "line 1 was written with other options"),
        ('{"row": 0, "scores": []}\n', "line 1 is not of row 0"),
    ],
    ids=["text", "line", "gap", "id", "no JSON", "no result", "no id"],
)
def test_what_is_not_the_output_of_the_input_is_rejected(
    classwire: Run, tmp_path: Path, unanswered_target: str, found: str, said: str
) -> None:
    """An output that does not belong to the input is one line with the reason, exit code 2,
    before a call; the file stays.
    """
    source, output = write(tmp_path / "in.csv", CSV), write(tmp_path / "out.jsonl", found)
    command: list[Any] = ["classify", "--target", unanswered_target, "--file", str(source)]
    ended = classwire(*command, *COLUMNS, "--output", str(output), "--resume")
    assert (ended.code, ended.out, output.read_text()) == (2, "", found)
    assert f"out.jsonl cannot be resumed: {said}" in ended.complaint


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ('{"row": 0, "id": "x1", "scores": []}\n', "line 1 was written with other options"),
        ('{"row": 0, "scores": []}\n{"row": 1, "scores": []}\n', "line 2 is past the last row"),
    ],
    ids=["id", "too long"],
)
def test_ids_and_rows_that_the_input_has_not_are_rejected(
    classwire: Run, tmp_path: Path, unanswered_target: str, found: str, said: str
) -> None:
    """An output with ids does not belong to a run without; one with more rows does not belong to
    the input.
    """
    source, output = write(tmp_path / "in.txt", "a\n"), write(tmp_path / "out.jsonl", found)
    command = ["classify", "--target", unanswered_target, "--file", str(source)]
    ended = classwire(*command, "--output", str(output), "--resume")
    assert (ended.code, output.read_text()) == (2, found)
    assert said in ended.complaint
