"""`classwire classify --file`: whole files, through one stream."""

import json
import os
import pty
import threading
from pathlib import Path
from typing import Any

import pytest

from classwire import Client, Reason
from classwire.testing import FakeServer
from tests.cli.conftest import Run, Spawn

CSV = (
    b'id,note,review\r\nx1,a,"I really love\nthis book"\r\nx2,b,\r\nx3,c,caf\xe9\r\nx4,d,Awful.\r\n'
)


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_row_of_a_csv_comes_back_under_its_number_and_id(
    classwire: Run, target: str, tmp_path: Path
) -> None:
    """Each row of a CSV has scores or an error, under its number and id, in order; quoted line
    breaks are kept.
    """
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_bytes(CSV)
    columns = ["--column", "review", "--id-column", "id"]
    ended = classwire(
        "classify", "--target", target, "--file", str(source), *columns, "--output", str(output)
    )
    assert (ended.code, ended.out) == (1, "")
    found = records(output)
    assert [(each["row"], each["id"]) for each in found] == [
        (0, "x1"),
        (1, "x2"),
        (2, "x3"),
        (3, "x4"),
    ]
    with Client(target) as client:
        direct = client.classify("I really love\nthis book")
    assert found[0]["label"] == direct.label
    assert [each["score"] for each in found[0]["scores"]] == pytest.approx(
        [each.score for each in direct.scores], abs=1e-6
    )
    assert [each.get("error", {}).get("reason") for each in found] == [
        None,
        "EMPTY_TEXT",
        "BAD_ENCODING",
        None,
    ]
    (summary,) = ended.err.splitlines()
    assert summary.startswith("4 rows, ")
    assert "2 errors" in summary
    assert str(output) in summary


def test_jsonl_pairs_and_txt_go_to_standard_output(
    classwire: Run, target: str, tmp_path: Path
) -> None:
    """Without --output the results go to standard output, and the summary to standard error."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"q": "good?", "a": "yes", "n": 7}\n{"q": "bad?", "a": "no", "n": 8}\n')
    columns = ["--column", "q", "--pair-column", "a", "--id-column", "n"]
    ended = classwire("classify", "--target", target, "--file", str(source), *columns)
    first, second = map(json.loads, ended.out.splitlines())
    assert (first["id"], second["id"], ended.code) == (7, 8, 0)
    with Client(target) as client:
        assert first["score"] == pytest.approx(client.classify("good?", "yes").score, abs=1e-6)

    text = tmp_path / "in.txt"
    text.write_text("good\n\nbad")
    ended = classwire("classify", "--target", target, "--file", str(text), "--output", "-")
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [each["row"] for each in found] == [0, 1, 2]
    assert "id" not in found[0]
    assert found[1]["error"]["reason"] == "EMPTY_TEXT"


def test_a_long_file_keeps_its_order(classwire: Run, tmp_path: Path) -> None:
    """A file longer than the window keeps its order, with errors for every seventh row."""
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = 6_000  # more than the order holds back
    lines = ("{" if n % 7 == 3 else json.dumps({"text": f"word {n}"}) for n in range(rows))
    source.write_text("\n".join(lines))

    def answer(text: str, pair: str | None) -> dict[str, float]:
        return {text: 1.0}

    with FakeServer(answer) as server:
        options = ["--target", server.target, "--column", "text", "--output", str(output)]
        assert classwire("classify", "--file", str(source), *options).code == 1
    for n, record in enumerate(records(output)):
        assert record["row"] == n
        assert record.get("label") == (None if n % 7 == 3 else f"word {n}")
    assert n == rows - 1


def test_a_missing_column_is_named_before_anything_is_written(
    classwire: Run, target: str, tmp_path: Path
) -> None:
    """A missing column is one line that lists the columns, exit code 2, and no output file."""
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_bytes(CSV)
    files = ["--file", str(source), "--output", str(output)]
    ended = classwire("classify", "--target", target, *files, "--column", "text")
    assert (ended.code, ended.out, output.exists()) == (2, "", False)
    assert "no column 'text'; the columns are: id, note, review" in ended.complaint


def test_an_output_that_exists_is_kept(classwire: Run, target: str, tmp_path: Path) -> None:
    """An existing output is an error without --force, and the input is never overwritten."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good")
    output.write_text("precious")
    command = ["classify", "--target", target, "--file", str(source), "--output"]
    ended = classwire(*command, str(output))
    assert (ended.code, output.read_text()) == (2, "precious")
    assert "--resume continues it, --force overwrites it" in ended.complaint
    assert classwire(*command, str(output), "--force").code == 0
    assert len(records(output)) == 1
    assert classwire(*command, str(source), "--force").code == 2
    assert source.read_text() == "good"


def test_an_unknown_model_leaves_no_output(classwire: Run, target: str, tmp_path: Path) -> None:
    """An unknown model is an error before the output file is made."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good")
    files = ["--file", str(source), "--output", str(output)]
    assert classwire("classify", "--target", target, "--model", "nope", *files).code == 2
    assert not output.exists()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["classify", "--windows"],
        ["zero-shot", "--label=a", "--label=b"],
        ["zero-shot", "--label=a", "--window-tokens=4"],
    ],
    ids=" ".join,
)
def test_a_run_that_is_rejected_leaves_no_output(
    classwire: Run, tmp_path: Path, command: list[str], kept: bool
) -> None:
    """Where the server rejects the options, there is one line and no output; one that is there
    stays, even with --force.
    """
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good\n")
    if kept:
        output.write_text("precious")
    files = ["--file", str(source), "--output", str(output), "--force"]
    with FakeServer(["entailment"], max_texts_per_call=1) as server:
        ended = classwire(*command, "--target", server.target, *files)
    assert ended.code == 2
    assert ended.complaint
    assert (output.read_text() if output.exists() else None) == ("precious" if kept else None)


def test_a_file_without_rows_has_an_output(classwire: Run, tmp_path: Path) -> None:
    """An input with a header alone gives a table with a header alone."""
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\n")
    with FakeServer(["x"]) as server:
        files = ["--file", str(source), "--column", "text", "--output", str(output)]
        assert classwire("classify", "--target", server.target, *files).code == 0
    assert output.read_text() == "row,label,score,error_reason,error_message,score_x\n"


def test_a_stream_that_breaks_leaves_what_came(classwire: Run, tmp_path: Path) -> None:
    """After a broken stream the output holds the rows before, and the error names how far it
    came.
    """
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\n" * 100)
    with FakeServer(["x"], max_items_per_message=1) as server:
        server.break_stream(Reason.INTERNAL, after_results=10)
        files = ["--file", str(source), "--output", str(output)]
        ended = classwire("classify", "--target", server.target, *files)
    assert ended.code == 1
    assert [each["row"] for each in records(output)] == list(range(10))
    stopped, failure = ended.err.splitlines()
    assert stopped.startswith("stopped after 10 rows")
    assert stopped.endswith("out.jsonl; continue with the same command and --resume")
    assert failure.startswith("classwire: ")


@pytest.mark.parametrize(
    ("reason", "why"), [(Reason.LOADING, "loading"), (Reason.DRAINING, "away")]
)
def test_a_server_that_stays_away_is_named(
    classwire: Run, tmp_path: Path, reason: Reason, why: str
) -> None:
    """The last line says how long the command waited for the server, and the option for that."""
    source = tmp_path / "in.txt"
    source.write_text("good\n")
    with FakeServer(["x"]) as server:
        server.fail_next(reason, times=1_000)
        files = ["--file", str(source), "--timeout-s", "0.3"]
        ended = classwire("classify", "--target", server.target, *files)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith(f"; the server was {why} for 0.3 s (--timeout-s)")


@pytest.mark.parametrize("colours", ["", "1"])
def test_a_log_gets_lines_of_progress(
    classwire: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: str
) -> None:
    """Without a terminal there is a line of progress from time to time, and one at the end, also
    where FORCE_COLOR asks for colours, as a notebook does.
    """
    monkeypatch.setenv("FORCE_COLOR", colours)
    source = tmp_path / "in.txt"
    source.write_text("good\n" * 3)
    monkeypatch.setattr("classwire.cli.progress.LINE_EVERY_S", 0.0)
    with FakeServer(["x"]) as server:
        ended = classwire("classify", "--target", server.target, "--file", str(source))
    assert [line.split(", ")[0] for line in ended.err.splitlines()] == [
        *("1 row", "2 rows", "3 rows"),
        "3 rows",
    ]


def test_sigterm_says_how_to_resume(spawn: Spawn, tmp_path: Path) -> None:
    """SIGTERM stops a run as Ctrl-C does: where it stopped, how to go on, and exit code 143."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good\n" * 1_000)
    reached, ended = threading.Event(), threading.Event()

    def answer(text: str, pair: str | None) -> dict[str, float]:
        reached.set()
        ended.wait(60)
        return {"x": 1.0}

    with FakeServer(answer) as server:
        files = ["--file", str(source), "--output", str(output)]
        with spawn("classify", "--target", server.target, *files) as process:
            assert reached.wait(60)
            process.terminate()
            _, err = process.communicate(timeout=60)
        ended.set()
    (line,) = err.decode().splitlines()
    assert process.returncode == 143
    assert line.startswith("stopped after 0 rows")
    assert line.endswith("out.jsonl; continue with the same command and --resume")


def test_a_terminal_sees_rate_errors_and_remaining_time(spawn: Spawn, tmp_path: Path) -> None:
    """A terminal on standard error shows rate, errors and remaining time, while standard output
    holds only results.
    """
    source = tmp_path / "in.txt"
    source.write_text("good\n\n" * 300)
    ours, theirs = pty.openpty()
    with FakeServer(["x"]) as server:
        files = ["--file", str(source), "--target", server.target]
        process = spawn("classify", *files, stderr=theirs, TERM="xterm", COLUMNS="100")
        os.close(theirs)
        out, _ = process.communicate(timeout=30)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how a terminal reports that the last writer closed it
            pass
        os.close(ours)
    assert len(out.splitlines()) == 600
    for part in (b"in.txt", b"%", b"texts/s", b"300 errors", b"left"):
        assert part in shown


@pytest.mark.parametrize(
    "options",
    [
        ["--file", "FILE", "text"],
        ["--file", "FILE", "--stages"],
        ["--file", "FILE", "--pair", "x"],
        ["--file", "FILE", "--resume"],
        ["--file", "-", "--resume", "--output", "out.jsonl"],
        ["--format", "txt", "text"],
        ["--encoding", "latin-1", "text"],
        ["--tsv", "--json", "text"],
        ["--tsv", "--stages", "text"],
        ["--tsv", "--file", "FILE", "--output", "out.tsv"],
        ["--file", "FILE", "--delimiter", "ab"],
        ["--file", "FILE", "--delimiter", '"'],
        ["--delimiter", ";"],
        ["--file", "FILE", "--resume", "--force", "--output", "out.jsonl"],
        ["--resume", "text"],
        ["--column", "text", "text"],
        ["--output", "out.jsonl", "text"],
        ["--file", "nowhere.csv", "--column", "text"],
    ],
)
def test_options_that_do_not_go_together_are_rejected(
    classwire: Run, tmp_path: Path, options: list[str]
) -> None:
    """Contradictory options are one line and exit code 2, before a call to the server."""
    source = tmp_path / "in.txt"
    source.write_text("good")
    ended = classwire("classify", *(str(source) if each == "FILE" else each for each in options))
    assert (ended.code, ended.out) == (2, "")
    assert ended.complaint.endswith("Try 'classwire classify --help'.")
