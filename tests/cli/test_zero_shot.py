"""`classwire zero-shot`: texts of the command line and of files."""

import json
from pathlib import Path
from typing import Any

import pytest

from classwire import Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from tests.cli.conftest import Run

LABELS = ["--label", "billing", "--label", "delivery"]
TEXT = "the delivery is late"


def entailed(text: str, text_pair: str | None) -> dict[str, float]:
    """Return 0.75 if the text has the hypothesis's last word."""
    share = 0.75 if (text_pair or "").split()[-1].strip(".") in text else 0.25
    return {"contradiction": 1 - share, "entailment": share}


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_text_is_a_bar_for_each_label(classwire: Run) -> None:
    """One text prints a bar for each label, highest first."""
    with FakeServer(entailed) as server:
        ended = classwire("zero-shot", "--target", server.target, TEXT, *LABELS)
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("delivery", "0.7500"),
        ("billing", "0.2500"),
    ]


def test_several_texts_stand_under_headings_and_a_bad_one_fails_alone(classwire: Run) -> None:
    """Several texts have headings; a blank one is named, and the exit code is 1."""
    with FakeServer(entailed) as server:
        options = ["--target", server.target, *LABELS, "--top-k", "1"]
        ended = classwire("zero-shot", *options, TEXT, " ", "billing")
    assert ended.code == 1
    assert [line.split()[0] for line in ended.out.splitlines()] == [
        "the",
        "delivery",
        "billing",
        "billing",
    ]
    assert ended.complaint.startswith("text 2: ")


def test_json_is_one_object_for_each_text(classwire: Run) -> None:
    """`--json` prints one object a text, with each label's score, or the error."""
    with FakeServer(entailed) as server:
        ended = classwire("zero-shot", "--target", server.target, *LABELS, "--json", TEXT, " ")
    good, bad = ended.records
    assert (ended.code, ended.err) == (1, "")
    assert (good["text"], good["label"], good["score"]) == (TEXT, "delivery", 0.75)
    assert good["scores"] == [
        {"label": "delivery", "index": 1, "score": 0.75},
        {"label": "billing", "index": 0, "score": 0.25},
    ]
    assert (good["window_count"], good["model"]["name"]) == (1, "fake")
    assert bad["error"]["reason"] == "EMPTY_TEXT"


def test_options_reach_the_server(classwire: Run) -> None:
    """Each option of the command reaches the request."""
    with FakeServer(entailed) as server:
        options = ["--target", server.target, "--model", "fake", "--top-k", "2", *LABELS]
        options += ["--min-score", "0.5", "--hypothesis-template", "It is {}.", "--multi-label"]
        options += ["--truncation", "windows", "--overlap-tokens", "9", "--priority", "bulk"]
        assert classwire("zero-shot", *options, TEXT).code == 0
    (request,) = server.requests
    assert request == pb.ZeroShotClassifyRequest(
        text=TEXT,
        candidate_labels=["billing", "delivery"],
        model="fake",
        options=pb.ZeroShotOptions(
            hypothesis_template="It is {}.",
            multi_label=True,
            top_k=2,
            min_score=0.5,
            truncation=pb.TRUNCATION_WINDOWS,
            windows=pb.WindowOptions(overlap_tokens=9),
            priority=pb.PRIORITY_BULK,
        ),
    )


def test_a_file_is_a_text_a_row(classwire: Run, tmp_path: Path) -> None:
    """Each row of a file has its scores or its error, in order, under its number and id."""
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    rows = [f"{n},{'delivery' if n % 2 else 'billing'} {n}" for n in range(40)]
    rows[7], rows[9] = "7,", "9,caf\udce9"
    source.write_bytes("\n".join(["id,text", *rows]).encode("utf-8", "surrogateescape"))
    with FakeServer(entailed) as server:
        server.fail_text("delivery 11", Reason.TOO_MANY_ITEMS)
        server.fail_text("delivery 13", Reason.POISON_INPUT)
        options = ["--target", server.target, "--file", str(source), "--column", "text", *LABELS]
        options += ["--id-column", "id", "--output", str(output)]
        ended = classwire("zero-shot", *options)
    found = records(output)
    assert [(each["row"], each["id"]) for each in found] == [(n, str(n)) for n in range(40)]
    errors = {each["row"]: each["error"]["reason"] for each in found if "error" in each}
    assert errors == {
        7: "EMPTY_TEXT",
        9: "BAD_ENCODING",
        11: "TOO_MANY_ITEMS",
        13: "POISON_INPUT",
    }
    assert [each["label"] for each in found[:3]] == ["billing", "delivery", "billing"]
    assert ended.code == 1
    (summary,) = ended.err.splitlines()
    assert summary.startswith("40 rows, ")
    assert "4 errors" in summary


def test_a_table_has_a_column_for_each_label(classwire: Run, tmp_path: Path) -> None:
    """`--output` writes CSV by its name, with a column for each candidate."""
    source, output = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text(f"{TEXT}\n")
    with FakeServer(entailed) as server:
        options = ["--target", server.target, "--file", str(source), "--output", str(output)]
        assert classwire("zero-shot", *options, *LABELS).code == 0
    assert output.read_text().splitlines() == [
        "row,label,score,error_reason,error_message,score_billing,score_delivery",
        "0,delivery,0.75,,,0.25,0.75",
    ]


def test_an_interrupted_file_is_resumed(classwire: Run, tmp_path: Path) -> None:
    """A call that fails ends the command; --resume classifies the rows that are not there yet."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("\n".join(f"delivery {n}" for n in range(20)))
    options = ["--file", str(source), *LABELS, "--output", str(output)]
    with FakeServer(entailed) as server:
        server.fail_text("delivery 12", Reason.NOT_ALLOWED)
        ended = classwire("zero-shot", "--target", server.target, *options)
    assert ended.code == 1
    assert ended.err.splitlines()[0].endswith("continue with the same command and --resume")
    assert [each["row"] for each in records(output)] == list(range(12))
    with FakeServer(entailed) as server:
        assert classwire("zero-shot", "--target", server.target, *options, "--resume").code == 0
        assert len(server.requests) == 8
    assert [each["row"] for each in records(output)] == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([TEXT], "--label"),
        (LABELS, "Give texts, or a --file of them."),
        ([TEXT, *LABELS, "--resume"], "go with --file"),
        (["-", *LABELS], "name their --format"),
        ([" ", *LABELS], "EMPTY_TEXT"),
        ([TEXT, *LABELS, "--hypothesis-template", ""], "hypothesis_template"),
        ([TEXT, *LABELS, "--model", "none"], "no model named 'none'"),
    ],
)
def test_wrong_use_is_named(classwire: Run, arguments: list[str], complaint: str) -> None:
    """Wrong arguments are one line and exit code 2."""
    with FakeServer(entailed) as server:
        ended = classwire("zero-shot", "--target", server.target, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.complaint


def test_errors_of_every_row_end_the_command(classwire: Run, tmp_path: Path) -> None:
    """A model that cannot do it, and too many labels, end the command before any row."""
    source = tmp_path / "in.txt"
    source.write_text("a\nb")
    with FakeServer(["yes"], max_texts_per_call=1) as server:
        options = ["--target", server.target, "--file", str(source)]
        ended = classwire("zero-shot", *options, "--label", "a")
        assert ended.code == 2
        assert "UNSUITABLE_MODEL" in ended.err
        ended = classwire("zero-shot", *options, *LABELS)
        assert ended.code == 2
        assert "2 labels, and the server's limit is 1" in ended.err
