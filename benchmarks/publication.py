"""Write a result's tables and charts into the documentation.

python -m benchmarks.publication RESULT.json
"""

import argparse
import json
from pathlib import Path

from scripts.pages import between

from . import charts, tables

PAGE = Path(__file__).parents[1] / "docs" / "project" / "benchmarks.md"
BEGIN, END = "<!-- benchmark: written by benchmarks.publication -->", "<!-- /benchmark -->"


def main() -> None:
    """Write the page and the charts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    result = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    body = tables.page(result).replace("\n#", "\n##").removeprefix("# ")
    drawn = charts.draw(result, charts.FOLDER)
    images = "\n".join(
        f"![{charts.CHARTS[path.stem][0]}]({path.relative_to(PAGE.parent)})" for path in drawn
    )
    text = between(PAGE.read_text(encoding="utf-8"), BEGIN, END, f"## {body}\n{images}")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
