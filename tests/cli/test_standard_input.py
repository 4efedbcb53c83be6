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
    assert found[2]["error"]["message"] == "line 3 is not UTF-8: byte 0xe9 at offset 9"


def test_nothing_on_standard_input_is_nothing_to_do(classwire: Run, target: str) -> None:
    """An empty input is no error."""
    ended = classwire("classify", "--target", target)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_results_appear_while_the_input_is_still_open(spawn: Spawn) -> None:
    """Each line has its result before the next is written, errors included."""
    with (
        FakeServer(good_or_bad) as server,
        spawn("classify", "--target", server.target, "--json") as process,
    ):
        assert process.stdin
        assert process.stdout
        for line, expected in ((b"good\n", "good"), (b"\xff\n", None), (b"poor\n", "bad")):
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
    assert (ended.code, ended.complaint) == (2, "standard input is closed; pass a TEXT")
