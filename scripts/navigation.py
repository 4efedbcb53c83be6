"""The navigation of the documentation's site, from the tables of its README pages."""

import re
from collections.abc import Iterator
from pathlib import Path

from .pages import ROOT

DOCS = ROOT / "docs"
FRONT = DOCS / "README.md"
SECTION = re.compile(r"^## ", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+\.md)(?:#[^)\s]*)?\)")


def sections(page: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield each section's heading ("" before the first) and the pages of docs/ that it links."""
    for number, section in enumerate(SECTION.split(page.read_text(encoding="utf-8"))):
        heading = section.partition("\n")[0] if number else ""
        linked = [(page.parent / link).resolve() for link in LINK.findall(section)]
        yield heading, [path for path in dict.fromkeys(linked) if path.is_relative_to(DOCS)]


def toctrees(page: Path) -> str:
    """Return the `toctree` directives of a README page; "" for other pages.

    The front page lists its links by section. Another README page lists the pages of its own
    folder that the front page does not list.
    """
    if page.name != "README.md":
        return ""
    front = {path for _, linked in sections(FRONT) for path in linked}
    found = []
    for heading, linked in sections(page):
        if page != FRONT:
            linked = [each for each in linked if each.parent == page.parent and each not in front]
        if linked:
            caption = f":caption: {heading}\n" if page == FRONT and heading else ""
            names = [f"/{path.relative_to(DOCS).with_suffix('').as_posix()}" for path in linked]
            found.append("\n".join([f"```{{toctree}}\n:hidden:\n{caption}", *names, "```"]))
    return "\n\n".join(found)
