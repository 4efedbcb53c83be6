"""Put the findings of trials into the documentation: tables between two markers, and a chart.

    python -m tests.chaos.publication reliability.json

Sections of other trials stay; the chart stays unless the file holds both of its trials.
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import in_words
from scripts.pages import between
from tests.chaos import charts

from .trials import TRIALS

PAGE = Path(__file__).parents[2] / "docs" / "project" / "reliability.md"
BEGIN, END = "<!-- trials: written by tests.chaos.publication -->", "<!-- /trials -->"
CHARTED = ("overload", "overload-embedded")

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """Return the findings of one trial as a table."""
    rows = ["| | asked | found | |", "|---|---|---|---|"]
    for finding in record["findings"]:
        verdict = "met" if finding["is_met"] else "**not met**"
        rows.append(f"| {finding['what']} | {finding['asked']} | {finding['found']} | {verdict} |")
    return "\n".join(rows)


def section(name: str, record: Record) -> str:
    """Return one trial's section: what it does, its command, date, machine and findings."""
    short = " --short" if record["plan"] == "short" else ""
    return (
        f"### {name}\n\n{record['about']}\n\n"
        f"`python -m tests.chaos {name}{short}`, {record['taken_at']}, "
        f"{in_words(record['machine'])}, {record['seconds']} s.\n\n{table(record)}"
    )


def published(page: str, records: Mapping[str, Record], folder: Path) -> str:
    """Return the page with the sections of these trials, and draw the chart into the folder.

    Raises ValueError for a page without the markers.
    """
    body = page.partition(BEGIN)[2].partition(END)[0].strip()
    known = {part.splitlines()[0]: part for part in re.split(r"\n\n(?=### |!\[)", body) if part}
    known.update((f"### {name}", section(name, record)) for name, record in records.items())
    if all(name in records for name in CHARTED):
        charts.draw(records, folder)
    chart = f"![{charts.TITLE}](charts/overload.svg)"
    sections = [known[f"### {name}"] for name in TRIALS if f"### {name}" in known]
    return between(page, BEGIN, END, "\n\n".join([*sections, chart]))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.chaos.publication"
    )
    parser.add_argument("result", type=Path, help="what `python -m tests.chaos` has written")
    records = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(published(page, records, charts.FOLDER), encoding="utf-8")


if __name__ == "__main__":
    main()
