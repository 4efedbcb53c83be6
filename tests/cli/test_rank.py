"""`classwire rank`: documents of the command line and of files."""

import json
from pathlib import Path

import pytest

from classwire import Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from tests.cli.conftest import Run


def by_number(text: str, pair: str | None) -> dict[str, float]:
    """Return the number in a document as its score."""
    return {"relevance": int("".join(filter(str.isdigit, pair or "")) or 0) / 1000}


def test_documents_are_lines_by_score(classwire: Run) -> None:
    """Each document is a line: rank, score, bar and text; a bad one is named, and the exit code is
    1.
    """
    with FakeServer(by_number) as server:
        ended = classwire("rank", "--target", server.target, "query", "no 250", " ", "no\n750")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "1  0.7500  ████████████      no 750",
        "2  0.2500  ████              no 250",
    ]
    assert ended.complaint.startswith("document 2: the fake server")


def test_rows_of_standard_input(classwire: Run) -> None:
    """`--format` reads documents from standard input; a failed row has its number and id."""
    with FakeServer(by_number) as server:
        options = ["--target", server.target, "--format", "csv", "--column", "text"]
        options += ["--id-column", "id", "--json"]
        ended = classwire("rank", "query", "-", *options, stdin=b"id,text\na,no 250\nb,\n")
    best, failed = ended.records
    assert (best["id"], best["score"]) == ("a", 0.25)
    assert (failed["index"], failed["id"], failed["error"]["reason"]) == (1, "b", "EMPTY_TEXT")


def test_no_document_reaches_the_minimum(classwire: Run) -> None:
    """Without a document of at least `--min-score`, a line says so."""
    with FakeServer(by_number) as server:
        options = ["--target", server.target, "--min-score", "0.9"]
        ended = classwire("rank", *options, "query", "no 250")
    assert (ended.code, ended.out) == (0, "(no document reaches the minimum score)\n")


def test_json_is_one_object_for_each_document(classwire: Run) -> None:
    """`--json` prints one object a document, by score, and those of failed ones after them."""
    with FakeServer(by_number) as server:
        options = ["--target", server.target, "--json", "--top-k", "1"]
        ended = classwire("rank", *options, "query", "no 250", "no 750", " ")
    best, failed = ended.records
    assert (ended.code, ended.err) == (1, "")
    assert best == {
        "rank": 1,
        "index": 1,
        "score": 0.75,
        "token_count": 3,
        "truncated_tokens": 0,
        "window_count": 1,
        "document": "no 750",
    }
    assert (failed["index"], failed["error"]["reason"]) == (2, "EMPTY_TEXT")


def test_options_reach_the_server(classwire: Run) -> None:
    """Each option of the command reaches the request."""
    with FakeServer(by_number) as server:
        options = ["--target", server.target, "--model", "fake", "--top-k", "2"]
        options += ["--min-score", "0.5", "--label", "relevance", "--activation", "sigmoid"]
        options += ["--truncation", "windows", "--window-tokens", "9", "--priority", "bulk"]
        assert classwire("rank", *options, "query", "document 700").code == 0
    (request,) = server.requests
    assert request == pb.RankRequest(
        query="query",
        documents=["document 700"],
        model="fake",
        options=pb.RankOptions(
            top_k=2,
            min_score=0.5,
            label="relevance",
            activation=pb.ACTIVATION_SIGMOID,
            truncation=pb.TRUNCATION_WINDOWS,
            windows=pb.WindowOptions(window_tokens=9),
            priority=pb.PRIORITY_BULK,
        ),
    )


@pytest.mark.parametrize("top_k", [None, 5])
def test_a_file_of_more_documents_than_a_call(
    classwire: Run, tmp_path: Path, top_k: int | None
) -> None:
    """A file's documents go in several calls, and come merged by score, ties by row; a damaged row
    and a bad document are named, and progress is on standard error.
    """
    numbers = [(7 * n) % 500 for n in range(300)]
    rows = [json.dumps({"text": f"no {number}", "key": n}) for n, number in enumerate(numbers)]
    rows[10], rows[20] = "{", '{"text": " ", "key": 20}'
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(rows))
    with FakeServer(by_number, max_texts_per_call=64) as server:
        options = ["--target", server.target, "--json", "--file", str(source), "--column", "text"]
        options += ["--id-column", "key"]
        if top_k is not None:
            options += ["--top-k", str(top_k)]
        ended = classwire("rank", *options, "query")
    sent = [len(each.documents) for each in server.requests if isinstance(each, pb.RankRequest)]
    assert sorted(sent) == [44, 63, 64, 64, 64]
    expected = sorted({*range(300)} - {10, 20}, key=lambda n: (-numbers[n], n))[:top_k]
    *found, first, second = ended.records
    assert [each["id"] for each in found] == [each["index"] for each in found] == expected
    assert [each["rank"] for each in found] == list(range(1, len(found) + 1))
    assert [(each["index"], each["error"]["reason"]) for each in (first, second)] == [
        (10, "BAD_ENCODING"),
        (20, "EMPTY_TEXT"),
    ]
    assert ended.code == 1
    (summary,) = ended.err.splitlines()
    assert summary.startswith("300 rows, ")
    assert "2 errors" in summary


def test_documents_with_too_many_windows_go_in_more_calls(classwire: Run, tmp_path: Path) -> None:
    """When the documents of a call have too many windows, the command sends fewer in a call."""
    source = tmp_path / "in.txt"
    source.write_text("\n".join(f"no {n}" for n in range(8)))
    with FakeServer(by_number) as server:
        server.fail_next(Reason.TOO_MANY_ITEMS, times=2)
        ended = classwire("rank", "--target", server.target, "--file", str(source), "query")
    sent = [len(each.documents) for each in server.requests if isinstance(each, pb.RankRequest)]
    assert sent == [8, 4, 2, 2, 4]
    assert ended.code == 0
    assert [line.split()[-1] for line in ended.out.splitlines()] == [str(n) for n in range(8)][::-1]


def test_a_call_that_fails_fails_the_command(classwire: Run, tmp_path: Path) -> None:
    """A call that fails for good ends the command without a ranking."""
    source = tmp_path / "in.txt"
    source.write_text("no 1\n" * 100)
    with FakeServer(by_number) as server:
        server.fail_next(Reason.INTERNAL)
        ended = classwire("rank", "--target", server.target, "--file", str(source), "query")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("classwire: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["query"], "Give documents, or a --file of them."),
        (["query", "-"], "name their --format"),
        (["query", "document", "--column", "text"], "go with --file"),
        ([" ", "document"], "query"),
        (["query", "document", "--label", "none"], "label"),
        (["query", "document", "--model", "none"], "no model named 'none'"),
    ],
)
def test_wrong_use_is_named(classwire: Run, arguments: list[str], complaint: str) -> None:
    """Wrong arguments are one line and exit code 2."""
    with FakeServer(by_number) as server:
        ended = classwire("rank", "--target", server.target, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.complaint
