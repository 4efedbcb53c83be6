"""The documentation shows files in their current state."""

import json
import re
from pathlib import Path

import pytest

from conformance.examples import answers
from conformance.generation.document import VECTORS
from scripts.notebook_page import markdown
from scripts.pages import END, filled, stale

ROOT = Path(__file__).parents[2]
PROGRAM = 'print("a", "b")  # <!-- nothing -->\n'
PAGE = f"# A page\n\nBefore.\n\n<!-- file: examples/a.py -->\n{END}\n\nAfter.\n"
SHOWN = f"<!-- file: examples/a.py -->\n\n```python\n{PROGRAM}```\n\n{END}\n\nAfter.\n"


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# A story\n", "[More](../../docs/start/a.md)."]},
        {
            "cell_type": "code",
            "source": ["print(1)\n", "2"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "2"}},
                {"output_type": "display_data", "data": {"image/png": "iVBO"}},
            ],
        },
        {"cell_type": "code", "source": "%%bash\nls", "outputs": []},
    ]
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with one page and the file that it shows."""
    for name, text in (("README.md", ""), ("examples/a.py", PROGRAM), ("docs/deep/a.md", PAGE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_pages_show_their_files() -> None:
    """Every file block in README.md and docs/ equals the file that it names."""
    assert [str(path) for path, _ in stale()] == [], "run: python -m scripts.pages"


def test_pages_show_todays_scores() -> None:
    """What a page says that example programs print has the score that transformers computes."""
    _, (label, score) = next(iter(answers(json.loads(VECTORS.read_text(encoding="utf-8"))).items()))
    pages = [ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md")]
    printed = {
        found: page.name
        for page in pages
        for found in re.findall(r"`(\d stars? 0\.\d{4})`", page.read_text(encoding="utf-8"))
    }
    assert printed.keys() == {f"{label} {score}"}, printed


def test_a_block_is_filled_with_its_file(root: Path) -> None:
    """Filling a block puts the file between its markers, in a fence, and leaves the rest alone."""
    once = filled(PAGE, root)
    assert once == f"# A page\n\nBefore.\n\n{SHOWN}"
    assert filled(once, root) == once


def test_a_page_is_stale_until_it_shows_the_file_as_it_is(root: Path) -> None:
    """A page is stale from the change of a file until it is filled again, in any folder of
    docs/.
    """
    page = root / "docs/deep/a.md"
    page.write_text(filled(PAGE, root))
    assert not list(stale(root))
    (root / "examples/a.py").write_text("print(1)\n")
    ((path, wanted),) = stale(root)
    assert path == page
    assert "print(1)" in wanted
    assert "nothing" not in wanted


def test_a_notebook_is_shown_as_a_page() -> None:
    """A notebook becomes its texts, its code and its printed outputs; links fit the page."""
    assert markdown(json.dumps(NOTEBOOK)).split("\n\n") == [
        "# A story\n[More](../start/a.md).",
        "```python\nprint(1)\n2\n```",
        "```\n1\n```",
        "```\n2\n```",
        "```bash\nls\n```",
    ]


def test_a_block_of_a_notebook_is_no_fence(root: Path) -> None:
    """A block that names a notebook is filled with it, as a page."""
    (root / "examples/a.ipynb").write_text(json.dumps(NOTEBOOK))
    page = f"<!-- file: examples/a.ipynb -->\n{END}\n"
    assert filled(page, root).startswith("<!-- file: examples/a.ipynb -->\n\n# A story\n")


@pytest.mark.parametrize("page", [PAGE.replace(END, ""), PAGE + PAGE])
def test_blocks_that_would_not_be_filled_are_rejected(page: str, root: Path) -> None:
    """A block without an end marker, or one that stands twice, is an error."""
    with pytest.raises(ValueError, match="does not have once"):
        filled(page, root)


def test_a_file_that_is_not_there_is_rejected(root: Path) -> None:
    """A block for a missing file is an error."""
    (root / "examples/a.py").unlink()
    with pytest.raises(FileNotFoundError):
        filled(PAGE, root)
