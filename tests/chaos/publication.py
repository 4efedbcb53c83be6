"""Put what the trials found into the documentation: tables between two markers, and a chart.

python -m tests.chaos.publication reliability.json
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import in_words
from scripts.pages import between

from . import charts

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- trials: written by tests.chaos.publication -->", "<!-- /trials -->"

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """The findings of one trial."""
    rows = ["| | asked | found | |", "|---|---|---|---|"]
    for finding in record["findings"]:
        verdict = "met" if finding["is_met"] else "**not met**"
        rows.append(f"| {finding['what']} | {finding['asked']} | {finding['found']} | {verdict} |")
    return "\n".join(rows)


def section(name: str, record: Record) -> str:
    """One trial: what it does, its command, when and on what it was taken, what it found."""
    short = " --short" if record["plan"] == "short" else ""
    return (
        f"### {name}\n\n{record['about']}\n\n"
        f"`python -m tests.chaos {name}{short}`, {record['taken_at']}, "
        f"{in_words(record['machine'])}, {record['seconds']} s.\n\n{table(record)}"
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    records = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    sections = [section(name, record) for name, record in records.items()]
    for path in charts.draw(records, charts.FOLDER):
        sections.append(f"![{charts.TITLE}]({path.relative_to(PAGE.parent)})")
    body = "\n\n".join(sections)
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), BEGIN, END, body), encoding="utf-8")


if __name__ == "__main__":
    main()
