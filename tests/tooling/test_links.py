"""Links of the documentation lead somewhere."""

import functools
import re
import subprocess
from pathlib import Path

from scripts.pages import ROOT

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@functools.cache
def prose(page: Path) -> str:
    """Return a page without its code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page, which GitHub makes of its headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def test_links_lead_to_files_and_headings() -> None:
    """Every relative link of a committed page leads to a file and, with an anchor, to a heading."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    pages = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(pages) > 20
    broken = []
    for page in pages:
        for path, heading in LINK.findall(prose(page)):
            to = page.parent / path if path else page
            if not to.exists() or (heading and heading not in anchors(to.resolve())):
                broken.append(f"{page.relative_to(ROOT)}: {path}#{heading}")
    assert not broken
