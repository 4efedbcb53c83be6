"""Readers reach every page from the front page and from the site's navigation."""

from pathlib import Path

import pytest

from scripts import navigation
from scripts.navigation import DOCS, FRONT, sections, toctrees

PAGES = frozenset(DOCS.rglob("*.md"))


def test_every_page_is_at_most_two_clicks_from_the_front_page() -> None:
    """Every page is at most two links from the front page, not counting links in code."""
    reached = {FRONT}
    for _ in range(2):
        reached |= {path for page in reached for _, linked in sections(page) for path in linked}
    assert sorted(PAGES - reached) == []


def test_every_page_is_in_the_navigation_once() -> None:
    """The site's sidebar has each page but the front page, once."""
    listed = [
        line
        for page in sorted(PAGES)
        for line in toctrees(page).splitlines()
        if line.startswith("/")
    ]
    pages = PAGES - {FRONT}
    assert sorted(listed) == sorted(
        f"/{page.relative_to(DOCS).with_suffix('').as_posix()}" for page in pages
    )


def test_the_navigation_has_the_front_pages_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A section with links becomes a caption; a folder's README lists pages that the front page
    omits.
    """
    front, inner = tmp_path / "README.md", tmp_path / "a" / "README.md"
    inner.parent.mkdir()
    front.write_text("# T\n\n## Start\n\n[a](a/README.md) [b](a/b.md)\n\n## None\n\nText.\n")
    inner.write_text("# A\n\n[b](b.md) [c](c.md#x) [d](../d.md) [e](https://x/e.md)\n")
    monkeypatch.setattr(navigation, "DOCS", tmp_path)
    monkeypatch.setattr(navigation, "FRONT", front)
    head = "```{toctree}\n:hidden:\n"
    assert toctrees(front) == f"{head}:caption: Start\n\n/a/README\n/a/b\n```"
    assert toctrees(inner) == f"{head}\n/a/c\n```"
    assert toctrees(inner.parent / "c.md") == ""
