"""The README's picture shows a real run of the demo."""

import re
from xml.etree import ElementTree

import pytest

from scripts.readme import README
from scripts.terminal_picture import (
    FILE,
    block,
    demo,
    draw,
    masked,
    plain,
    text_of,
)

NUMBER = re.compile(r"\d+\.\d+|\d+")


def test_picture_shows_a_run_of_the_demo() -> None:
    """The picture's text equals a demo's screen, except for ports, processes, times and rates."""
    run = masked(plain(demo()))
    shown = masked(text_of(FILE.read_text(encoding="utf-8")))
    assert NUMBER.sub("N", shown) == NUMBER.sub("N", run), "run: make picture"
    # Another processor may round the last digits differently.
    numbers = [float(number) for number in NUMBER.findall(run)]
    assert [float(number) for number in NUMBER.findall(shown)] == pytest.approx(numbers, abs=2e-4)


def test_readme_has_the_text_of_the_picture() -> None:
    """The README has the text that its picture shows."""
    text = text_of(FILE.read_text(encoding="utf-8"))
    assert block(text) in README.read_text(encoding="utf-8"), "run: make picture"


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
    """The masks hide ports, processes, times and rates, but no score, label, token or count."""
    line = "  5 stars  0.5682  at 127.0.0.1:4711, 9.1 ms in the server: tokenize 0.2, model 8.4"
    assert masked(line) == masked(line.replace("4711", "815").replace("9.1", "8.25"))
    assert masked(line) != masked(line.replace("0.5682", "0.5683"))
    crash = "process 4711 killed after 250 answers"
    assert masked(crash) == masked(crash.replace("4711", "815"))
    assert masked(crash) != masked(crash.replace("250", "251"))
    assert masked("500 of 500   812 texts/s") == masked("500 of 500 1,812 texts/s")
    assert masked("  .venv/bin/classwire serve") == masked("  classwire serve")
