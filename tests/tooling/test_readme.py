"""The README shows what a newcomer will see."""

import re
import subprocess
import sys

import pytest

from benchmarks.machine import machine
from scripts import readme
from scripts.readme import block, layout, output_of, shown

NUMBER = re.compile(r"\d+\.\d+|\d+")


def test_demo_output_is_shown_as_it_is() -> None:
    """The README's demo is the demo's output, but for ports, times and rates."""
    demo = subprocess.run(
        [sys.executable, "-m", "classwire", "demo"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=110,
    )
    now, shown = layout(demo.stdout), layout(block("demo"))
    assert NUMBER.sub("N", now) == NUMBER.sub("N", shown)
    # Another processor may round the last digits in another way.
    numbers = [float(number) for number in NUMBER.findall(now)]
    assert numbers == pytest.approx([float(number) for number in NUMBER.findall(shown)], abs=2e-4)


def test_layout_keeps_what_matters() -> None:
    """A score, label or token that differs shows; a time does not."""
    line = "  5 stars  0.5682  at 127.0.0.1:4711, 9.1 ms in the server: tokenize 0.2, model 8.4"
    assert layout(line) == layout(line.replace("4711", "815").replace("9.1", "8.25"))
    assert layout(line) != layout(line.replace("0.5682", "0.5683"))


def test_a_command_that_fails() -> None:
    """Its last lines are shown, and what became of it."""
    code = "for number in range(99): print('line', number)\nraise SystemExit(3)"
    with pytest.raises(SystemExit) as ended:
        output_of([sys.executable, "-c", code])
    shown = str(ended.value.code)
    assert "line 98\n" in shown
    assert "line 9\n" not in shown
    assert "exit status 3" in shown


def test_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and that is said."""
    monkeypatch.setattr(readme, "TIMEOUT_S", 0.1)
    with pytest.raises(SystemExit, match="timed out"):
        output_of([sys.executable, "-c", "import threading; threading.Event().wait()"])


def test_what_is_shown_of_the_tests() -> None:
    """Their last line, with the day and the machine of the run."""
    processor = machine()["processor"]
    body = shown("test", "some dots\n== 3 passed ==\n")
    assert body.startswith("```\n== 3 passed ==\n```\n\n2")
    assert body.endswith(f" cores of {processor}.")
