"""Write a result's tables and charts into the documentation.

    python -m benchmarks.publication RESULT.json

A result without the engines has a section of its own: starts, memory, and a call on an idle server.
"""

import argparse
import json
from pathlib import Path

from scripts.pages import between

from . import charts, tables

PAGE = Path(__file__).parents[1] / "docs" / "project" / "benchmarks.md"
SERVERS_BEGIN = "<!-- servers: written by benchmarks.publication -->"
SERVERS_END = "<!-- /servers -->"
BEGIN, END = "<!-- benchmark: written by benchmarks.publication -->", "<!-- /benchmark -->"


def main() -> None:
    """Write the page and the charts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    result = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    if "engines" not in result:
        servers = tables.server_page(result).replace("\n#", "\n##").removeprefix("# ")
        PAGE.write_text(between(page, SERVERS_BEGIN, SERVERS_END, f"## {servers}"), "utf-8")
        return
    body = tables.page(result).replace("\n#", "\n##").removeprefix("# ")
    drawn = charts.draw(result, charts.FOLDER)
    images = "\n".join(
        f"![{charts.CHARTS[path.stem][0]}]({path.relative_to(PAGE.parent)})" for path in drawn
    )
    PAGE.write_text(between(page, BEGIN, END, f"## {body}\n{images}"), encoding="utf-8")


if __name__ == "__main__":
    main()
