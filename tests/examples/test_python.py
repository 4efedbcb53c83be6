"""The Python examples do what their pages state, against a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from classwire import Reason
from classwire.testing import FakeServer
from conformance.generation.windows import REVIEW
from tests.examples.conftest import ROOT, Run, Secure

FOLDER = ROOT / "examples" / "python"


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
    good, bad = run("classify", target, "I really love this book"), run("classify", target, " ")
    assert (good.returncode, good.stdout, good.stderr) == (0, "5 stars 0.5290\n", "")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("EMPTY_TEXT: ")
    assert "Traceback" not in bad.stderr


def test_many_texts(run: Run, target: str) -> None:
    """`stream` prints number and outcome of each line, and a bad line's reason."""
    ended = run("stream", target, lines="I really love this book\n\nFell apart. I want my money!\n")
    assert ended.returncode == 0, ended.stderr
    first, second, third = sorted(ended.stdout.splitlines())
    assert first == "1\t5 stars\t0.5290"
    assert second == "2\tEMPTY_TEXT"
    assert third.startswith("3\t1 star\t0.")


def test_a_long_text(run: Run, target: str) -> None:
    """`windows` prints label and score of a text, then of each window with its part of the text."""
    ended = run("windows", target, REVIEW)
    assert ended.returncode == 0, ended.stderr
    whole, first, *_, last = (line.split("\t") for line in ended.stdout.splitlines())
    assert whole == ["2 stars", "0.3312"]
    assert first[:2] == ["5 stars", "0.3056"]
    assert first[2].startswith("We loved the caf\u00e9 \U0001f600: the coffee")
    assert last[:2] == ["1 star", "0.5631"]
    assert REVIEW.endswith(last[2])


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
    one = run("classify", secure.target, "I really love this book", secure.authority)
    many = run("stream", secure.target, secure.authority, lines="I really love this book\n")
    assert (one.stdout, one.stderr) == ("5 stars 0.5290\n", "")
    assert (many.stdout, many.stderr) == ("1\t5 stars\t0.5290\n", "")
