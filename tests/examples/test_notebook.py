"""A run of the notebook reproduces its outputs, and its picture has the same numbers."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from scripts import notebook, picture
from tests.examples.conftest import ROOT

NUMBER = re.compile(r"-?\d+\.\d+|\d+")


def shown(path: Path) -> list[Any]:
    """Return all outputs of a notebook, cell by cell: tables and printed lines."""
    read = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return [
        output.get("text") or output["data"].get("text/html")
        for cell in read.cells
        for output in cell.get("outputs", ())
    ]


def assert_alike(left: str, right: str) -> None:
    """Assert equality, except for the last digits of numbers, which depend on the processor."""
    assert NUMBER.sub("N", left) == NUMBER.sub("N", right)
    numbers = [float(number) for number in NUMBER.findall(left)]
    assert numbers == pytest.approx([float(number) for number in NUMBER.findall(right)], abs=2e-4)


def test_notebook_shows_what_it_shows_when_it_runs(tmp_path: Path) -> None:
    """The three stages, direct and served, are equal to each other and to the committed outputs."""
    output = tmp_path / "run.ipynb"
    subprocess.run(
        [sys.executable, "-m", "scripts.notebook", output], cwd=ROOT, check=True, timeout=110
    )
    before, now = shown(notebook.FILE), shown(output)
    assert len(before) == len(now) == 4, "run: python -m scripts.notebook"
    for committed, executed in zip(before, now, strict=True):
        assert_alike(committed, executed)
    for table, columns in zip(now[:3], (3, 1, 1), strict=True):
        rows = [re.findall("<code>(.*?)</code>", row) for row in table.split("</tr>")[2:-1]]
        assert len(rows) >= 5
        for cells in rows:
            direct, served = cells[:columns], cells[columns:]
            assert [float(n) for n in direct] == pytest.approx([float(n) for n in served], abs=1e-5)


def test_picture_has_the_numbers_of_the_embedded_checkpoint(target: str) -> None:
    """The drawing of the stages has the numbers of the server."""
    assert_alike(picture.FILE.read_text(encoding="utf-8"), picture.drawn(target))
