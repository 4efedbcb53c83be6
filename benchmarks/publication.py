"""Write a result's tables and charts into the documentation.

    python -m benchmarks.publication RESULT.json

A result without the comparison with other engines leaves theirs as they are, and a result of the
comparison alone leaves all others.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.pages import between

from . import charts, tables
from .peers import tables as comparison

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "project" / "benchmarks.md"
BEGIN, END = "<!-- benchmark: written by benchmarks.publication -->", "<!-- /benchmark -->"
PEERS_BEGIN, PEERS_END = "<!-- peers: written by benchmarks.publication -->", "<!-- /peers -->"
MEASURED = ("engines", "served")
"""Parts that every whole result has."""


def published(
    page: str, readme: str, result: dict[str, Any], drawn: Iterable[Path]
) -> tuple[str, str]:
    """Return the page and the README with the parts that the result has. Pure.

    `drawn` are the charts. Raises ValueError if a page lacks the markers.
    """
    images = {path.stem: f"![{charts.CHARTS[path.stem][0]}](charts/{path.name})" for path in drawn}
    of_peers = images.pop("peers", "")
    if any(part in result for part in MEASURED):
        body = tables.page(result).replace("\n#", "\n##").removeprefix("# ")
        every = "\n".join(images.values())
        page = between(page, BEGIN, END, f"## {body}\n{every}")
    if "peers" in result:
        page = between(page, PEERS_BEGIN, PEERS_END, f"{comparison.page(result)}\n\n{of_peers}")
        quoted = f"{comparison.summary(result)}\n\n{comparison.when_and_where(result)}."
        readme = between(readme, PEERS_BEGIN, PEERS_END, quoted)
    return page, readme


def main() -> None:
    """Write the page, the README and the charts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    result = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    before = (PAGE.read_text(encoding="utf-8"), README.read_text(encoding="utf-8"))
    after = published(*before, result, charts.draw(result, charts.FOLDER))
    for path, text in zip((PAGE, README), after, strict=True):
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
