"""The README shows the result of a run of the tests."""

import sys

import pytest

from benchmarks.machine import machine
from scripts import readme
from scripts.readme import output_of, shown


def test_a_command_that_fails() -> None:
    """For a command that fails the README shows its last lines and its exit code."""
    code = "for number in range(99): print('line', number)\nraise SystemExit(3)"
    with pytest.raises(SystemExit) as ended:
        output_of([sys.executable, "-c", code])
    shown = str(ended.value.code)
    assert "line 98\n" in shown
    assert "line 9\n" not in shown
    assert "exit status 3" in shown


def test_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that hangs is stopped, and the README names the timeout."""
    monkeypatch.setattr(readme, "TIMEOUT_S", 0.1)
    with pytest.raises(SystemExit, match="timed out"):
        output_of([sys.executable, "-c", "import threading; threading.Event().wait()"])


def test_the_last_line_of_the_tests_is_shown() -> None:
    """For the tests the README shows their last line, with day and machine of the run."""
    processor = machine()["processor"]
    body = shown("some dots\n== 3 passed ==\n")
    assert body.startswith("```\n== 3 passed ==\n```\n\n2")
    assert body.endswith(f" cores of {processor}.")
