"""A run of the reference job's notebook reproduces its outputs, and its picture has the same
numbers.
"""

import re
from pathlib import Path

import pytest

from scripts import picture
from tests.notebook.outputs import FOLDER, assert_alike, outputs, rerun

FILE = FOLDER / "reference_job.ipynb"
HINT = "run: python -m scripts.notebook examples/notebook/reference_job.ipynb"


def test_notebook_shows_what_it_shows_when_it_runs(tmp_path: Path) -> None:
    """The three stages, direct and served, are equal to each other and to the committed outputs."""
    ran = rerun(FILE, tmp_path / "run.ipynb")
    assert ran.returncode == 0, ran.stderr
    before, now = outputs(FILE), outputs(tmp_path / "run.ipynb")
    assert [*before] == [*now] == ["tokens", "logits", "scores", "answer"], HINT
    for cell, shown in now.items():
        assert_alike(before[cell], shown)
    for cell, columns in {"tokens": 3, "logits": 1, "scores": 1}.items():
        rows = [re.findall("<code>(.*?)</code>", row) for row in now[cell].split("</tr>")[2:-1]]
        assert len(rows) >= 5
        for cells in rows:
            direct, served = cells[:columns], cells[columns:]
            assert [float(n) for n in direct] == pytest.approx([float(n) for n in served], abs=1e-5)


def test_picture_has_the_numbers_of_the_embedded_checkpoint(target: str) -> None:
    """The drawing of the stages has the numbers of the server."""
    assert_alike(picture.FILE.read_text(encoding="utf-8"), picture.drawn(target))
