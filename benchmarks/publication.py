"""Write a result's tables and charts into the documentation.

    python -m benchmarks.publication RESULT.json

A result writes the sections that it has figures for, and leaves the others: the benchmark; without
the engines, starts, memory, and a call on an idle server; the comparison with other engines;
replicas behind Envoy; Ray Data.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.pages import between

from . import charts, tables
from .fleet import tables as fleet
from .peers import tables as comparison
from .ray import tables as ray

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "project" / "benchmarks.md"
FLEET_PAGE = ROOT / "docs" / "guides" / "fleet.md"
RAY_PAGE = ROOT / "docs" / "guides" / "ray.md"
SERVERS_BEGIN = "<!-- servers: written by benchmarks.publication -->"
SERVERS_END = "<!-- /servers -->"
SERVERS = ("memory", "start", "lone", "windows")
"""Parts of a result with a section of their own when the engines are not measured."""
BEGIN, END = "<!-- benchmark: written by benchmarks.publication -->", "<!-- /benchmark -->"
PEERS_BEGIN, PEERS_END = "<!-- peers: written by benchmarks.publication -->", "<!-- /peers -->"
FLEET_BEGIN, FLEET_END = "<!-- fleet: written by benchmarks.publication -->", "<!-- /fleet -->"
RAY_BEGIN, RAY_END = "<!-- ray: written by benchmarks.publication -->", "<!-- /ray -->"
PEERS_INTRODUCTION = (
    "Tokens per second of the engine alone next to other engines, each in its best configuration: "
    "BERT-base, on the same texts\nof real lengths ([how they are compared]"
    "(docs/project/benchmarks.md#compared-with-other-engines))."
)


def published(
    page: str, readme: str, result: dict[str, Any], drawn: Iterable[Path]
) -> tuple[str, str]:
    """Return the page and the README with the sections that the result has. Pure.

    `drawn` are the charts. Raises ValueError if a page lacks the markers.
    """
    images = {path.stem: f"![{charts.CHARTS[path.stem][0]}](charts/{path.name})" for path in drawn}
    of_peers = images.pop("peers", "")
    if "engines" in result:
        every = "\n".join(images.values())
        page = between(page, BEGIN, END, f"{_section(tables.page(result))}\n{every}")
    elif any(part in result for part in SERVERS):
        page = between(page, SERVERS_BEGIN, SERVERS_END, _section(tables.server_page(result)))
    if "peers" in result:
        page = between(page, PEERS_BEGIN, PEERS_END, f"{comparison.page(result)}\n\n{of_peers}")
        when = f"{comparison.when_and_where(result)}."
        quoted = "\n\n".join((PEERS_INTRODUCTION, comparison.summary(result), when))
        readme = between(readme, PEERS_BEGIN, PEERS_END, quoted)
    return page, readme


def with_fleet(page: str, result: dict[str, Any]) -> str:
    """Return the guide with the figures of replicas behind Envoy, if the result has them. Pure.

    Raises ValueError if the guide lacks the markers.
    """
    return between(page, FLEET_BEGIN, FLEET_END, fleet.page(result)) if "fleet" in result else page


def with_ray(page: str, result: dict[str, Any]) -> str:
    """Return the guide with the figures of Ray Data, if the result has them. Pure.

    Raises ValueError if the guide lacks the markers.
    """
    return between(page, RAY_BEGIN, RAY_END, ray.page(result)) if "ray" in result else page


def _section(page: str) -> str:
    return "#" + page.replace("\n#", "\n##")


def main() -> None:
    """Write the pages, the README and the charts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    result = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    before = (PAGE.read_text(encoding="utf-8"), README.read_text(encoding="utf-8"))
    after = published(*before, result, charts.draw(result, charts.FOLDER))
    for path, text in zip((PAGE, README), after, strict=True):
        path.write_text(text, encoding="utf-8")
    for path, put in ((FLEET_PAGE, with_fleet), (RAY_PAGE, with_ray)):
        path.write_text(put(path.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
