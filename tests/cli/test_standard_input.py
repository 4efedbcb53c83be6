"""`classwire classify` on lines of standard input."""

import json
import os
import signal
from collections.abc import Callable

import pytest

from classwire.testing import FakeServer
from tests.cli.conftest import Run, Spawn
from tests.signals import send_to_other_thread


def good_or_bad(text: str, pair: str | None) -> dict[str, float]:
    """Classify "good" as good and all else as bad, on a fake server."""
    score = 0.75 if "good" in text else 0.25
    return {"good": score, "bad": 1 - score}


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_every_line_of_standard_input_is_a_text(
    classwire: Run, target: str, dash: list[str]
) -> None:
    """Each input line has a result in order; a blank line and one that is not UTF-8 have errors."""
    ended = classwire(
        "classify", "--target", target, "--json", *dash, stdin=b"one\r\n\ncaf\xe9\nlast"
    )
    assert ended.code == 1
    found = ended.records
    assert [each.get("text") for each in found] == ["one", "", None, "last"]
    assert [each.get("error", {}).get("reason") for each in found] == [
        None,
        "EMPTY_TEXT",
        "BAD_ENCODING",
        None,
    ]
    message = "line 3 is not UTF-8: byte 0xe9 at offset 9 (see --encoding)"
    assert found[2]["error"]["message"] == message


@pytest.mark.parametrize(
    ("options", "given", "ids"),
    [
        (["--format", "csv", "--id-column", "id"], b'id,text\r\nx,"a\ngood"\r\ny,bad\r\n', "xy"),
        (["--format", "tsv", "--id-column", "id"], b"id\ttext\nx\ta good\ny\tbad\n", "xy"),
        (["--format", "csv", "--delimiter", ";", "-"], b"id;text\nx;a, good\ny;bad", None),
        (["--format", "tsv", "--delimiter", "\\t"], b"id\ttext\nx\ta good\ny\tbad", None),
        (
            ["--file", "-", "--format", "jsonl", "--id-column", "id"],
            b'{"id": "x", "text": "a good"}\n{"id": "y", "text": "bad"}',
            "xy",
        ),
    ],
)
def test_rows_of_standard_input(
    classwire: Run, options: list[str], given: bytes, ids: str | None
) -> None:
    """With --format, standard input holds rows, with results as those of a file."""
    with FakeServer(good_or_bad) as server:
        command = ["classify", "--target", server.target, "--column", "text", *options]
        ended = classwire(*command, stdin=given)
    assert ended.code == 0
    assert [each["row"] for each in ended.records] == [0, 1]
    assert [each["label"] for each in ended.records] == ["good", "bad"]
    assert [each.get("id") for each in ended.records] == list(ids or [None, None])
    assert ended.err.startswith("2 rows, ")


def test_plain_lines_with_a_format_or_an_encoding(classwire: Run) -> None:
    """--format txt gives lines the results of a file; --encoding goes with lines, too."""
    with FakeServer(good_or_bad) as server:
        command = ["classify", "--target", server.target, "--encoding", "latin-1", "--json"]
        ended = classwire(*command, "--format", "txt", stdin=b"good\n")
        assert (ended.records[0]["row"], ended.records[0]["label"]) == (0, "good")
        assert classwire(*command, stdin=b"caf\xe9\n").records[0]["text"] == "café"


def test_nothing_on_standard_input_is_nothing_to_do(classwire: Run, target: str) -> None:
    """An empty input is no error."""
    ended = classwire("classify", "--target", target)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.parametrize("rows", [False, True])
def test_results_appear_while_the_input_is_still_open(spawn: Spawn, rows: bool) -> None:
    """Each line has its result before the next is written, errors included; so have rows."""
    options = ["--format", "jsonl", "--column", "text"] if rows else ["--json"]
    lines = [b"good\n", b"\xff\n", b"poor\n"]
    if rows:
        lines = [b'{"text": "good"}\n', b"{}\n", b'{"text": "poor"}\n']
    with (
        FakeServer(good_or_bad) as server,
        spawn("classify", "--target", server.target, *options) as process,
    ):
        assert process.stdin
        assert process.stdout
        for line, expected in zip(lines, ("good", None, "bad"), strict=True):
            process.stdin.write(line)
            process.stdin.flush()
            assert json.loads(process.stdout.readline()).get("label") == expected
        process.stdin.close()
        assert process.wait(10) == 1


@pytest.mark.parametrize("send", [os.kill, send_to_other_thread])
def test_ctrl_c_exits_130_with_one_line(spawn: Spawn, send: Callable[[int, int], None]) -> None:
    """Ctrl-C exits with 130 and one line, while reading the input, and on any thread."""
    with (
        FakeServer(good_or_bad) as server,
        spawn("classify", "--target", server.target, "--json") as process,
    ):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"good\n")
        process.stdin.flush()
        assert process.stdout.readline()
        send(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b"classwire: interrupted\n"


def test_a_closed_standard_input_is_reported(classwire: Run, target: str) -> None:
    """A closed standard input is one line; Python has no such stream then."""
    ended = classwire("classify", "--target", target, stdin=None)
    assert (ended.code, ended.complaint) == (2, "standard input is closed; pass a TEXT or a --file")
