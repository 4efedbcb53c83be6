"""The Python examples do what their pages state, against a real server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classwire import Reason
from classwire.testing import FakeServer
from conformance.examples import answers, windows
from conformance.generation.document import VECTORS as FILE
from tests.examples.conftest import ROOT, Run, Secure

FOLDER = ROOT / "examples" / "python"
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))
TEXT, (LABEL, SCORE) = next(iter(answers(VECTORS).items()))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs an example by its script."""
    subprocess.run([FOLDER / "build", tmp_path], check=True, timeout=60)

    def start(*arguments: str, lines: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [FOLDER / "run", tmp_path, *arguments],
            input=lines,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PYTHON": sys.executable},
        )

    return start


def test_one_text(run: Run, target: str) -> None:
    """`classify` prints label and score; for a bad text it prints the reason and exits with 1."""
    good, bad = run("classify", target, TEXT), run("classify", target, " ")
    assert (good.returncode, good.stdout, good.stderr) == (0, f"{LABEL} {SCORE}\n", "")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("EMPTY_TEXT: ")
    assert "Traceback" not in bad.stderr


def test_many_texts(run: Run, target: str) -> None:
    """`stream` prints number and outcome of each line, and a bad line's reason."""
    ended = run("stream", target, lines=f"{TEXT}\n\nAwful. It fell apart.\n")
    assert ended.returncode == 0, ended.stderr
    first, second, third = sorted(ended.stdout.splitlines())
    assert first == f"1\t{LABEL}\t{SCORE}"
    assert second == "2\tEMPTY_TEXT"
    assert third.startswith("3\t1 star\t0.")


def test_a_long_text(run: Run, target: str) -> None:
    """`windows` prints label and score of a text, then of each window with its part of the text."""
    text, lines = windows(VECTORS)
    ended = run("windows", target, text)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == lines


def test_a_server_that_goes_away(run: Run) -> None:
    """After a broken stream the example answers the rest, each line once."""
    with FakeServer(["good"]) as server:
        server.break_stream(Reason.DRAINING, after_results=2)
        server.fail_next(Reason.LOADING)
        ended = run("stream", server.target, lines="a text\n" * 5)
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == [
        f"{number}\tgood\t1.0000" for number in range(1, 6)
    ]


def test_tls(run: Run, secure: Secure) -> None:
    """Both examples accept the TLS server of a given authority."""
    one = run("classify", secure.target, TEXT, secure.authority)
    many = run("stream", secure.target, secure.authority, lines=f"{TEXT}\n")
    assert (one.stdout, one.stderr) == (f"{LABEL} {SCORE}\n", "")
    assert (many.stdout, many.stderr) == (f"1\t{LABEL}\t{SCORE}\n", "")
