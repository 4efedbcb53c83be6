"""The documentation shows files in their current state."""

from pathlib import Path

import pytest

from scripts.pages import END, filled, stale

PROGRAM = 'print("a", "b")  # <!-- nothing -->\n'
PAGE = f"# A page\n\nBefore.\n\n<!-- file: examples/a.py -->\n{END}\n\nAfter.\n"
SHOWN = f"<!-- file: examples/a.py -->\n\n```python\n{PROGRAM}```\n\n{END}\n\nAfter.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with one page and the file that it shows."""
    for name, text in (("README.md", ""), ("examples/a.py", PROGRAM), ("docs/deep/a.md", PAGE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_pages_show_their_files() -> None:
    """Every file block in README.md and docs/ equals the file that it names."""
    assert [str(path) for path, _ in stale()] == [], "run: python scripts/pages.py"


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
