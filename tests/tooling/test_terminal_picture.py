"""The README's picture shows a real run of the demo."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from scripts import terminal_picture
from scripts.terminal_picture import COMMAND, FILE, draw, in_terminal, masked, plain, text_of

NUMBER = re.compile(r"\d+\.\d+|\d+")


def test_picture_shows_a_run_of_the_demo() -> None:
    """The picture's text equals a demo's terminal output, except for ports, times and rates."""
    run = masked(plain(in_terminal(COMMAND)))
    shown = masked(text_of(FILE.read_text(encoding="utf-8")))
    assert NUMBER.sub("N", shown) == NUMBER.sub("N", run), "run: make picture"
    # Another processor may round the last digits differently.
    numbers = [float(number) for number in NUMBER.findall(run)]
    assert [float(number) for number in NUMBER.findall(shown)] == pytest.approx(numbers, abs=2e-4)


def test_text_of_a_picture_is_what_was_printed() -> None:
    """A picture keeps its text: colours, indentation, blank lines and XML characters."""
    output = '\x1b[1mbold\x1b[0m  and <plain> & "quoted"\n\n  \x1b[32m██▍\x1b[0m   0.5\n'
    picture = draw(output)
    assert text_of(picture) == plain(output) == 'bold  and <plain> & "quoted"\n\n  ██▍   0.5\n'
    assert "font-weight: bold" in picture


def test_picture_loads_nothing() -> None:
    """The picture loads no font and no other file."""
    picture = FILE.read_text(encoding="utf-8")
    assert "@font-face" not in picture
    assert re.findall(r"url\((?!#)", picture) == []
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"


def test_masks_hide_times_and_no_scores() -> None:
    """The masks hide ports, times and rates, but no score, label or token."""
    line = "  5 stars  0.5682  at 127.0.0.1:4711, 9.1 ms in the server: tokenize 0.2, model 8.4"
    assert masked(line) == masked(line.replace("4711", "815").replace("9.1", "8.25"))
    assert masked(line) != masked(line.replace("0.5682", "0.5683"))


def test_command_sees_a_terminal() -> None:
    """The command's output is a terminal of the picture's width."""
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert in_terminal([sys.executable, "-c", code]) == "True 80\n"


def test_command_that_fails_or_hangs_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails or hangs raises an error instead of making a picture."""
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        in_terminal([sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(terminal_picture, "TIMEOUT_S", 0.1)
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL"):
        in_terminal([sys.executable, "-c", "import threading; threading.Event().wait()"])
