"""Write the last run's table into docs/project/conformance.md, and the number into README.md."""

import json
import re
from pathlib import Path

from benchmarks.machine import in_words
from scripts.pages import between

from .languages import ROOT, VECTORS
from .report import NOT_RUN, Column, read, table

PAGE = ROOT / "docs" / "project" / "conformance.md"
README = ROOT / "README.md"
NUMBER = re.compile(r"\d+(?= test vectors made with it pass in each of six languages)")
BEGIN, END = "<!-- table: written by python -m conformance --publish -->", "<!-- /table -->"


def publish(results: Path) -> None:
    """Write a run's results between the page's markers, and the number of vectors into README."""
    columns, about = read(results)
    body = f"{about['taken_at']}, {in_words(about['machine'])}.\n\n"
    body += f"{_markdown(table(columns, about['rows']))}\n{_left_out(columns)}"
    body += f"\n{_versions(columns)}"
    PAGE.write_text(between(PAGE.read_text("utf-8"), BEGIN, END, body), encoding="utf-8")
    groups = json.loads(VECTORS.read_text("utf-8"))["groups"]
    number = sum(len(group["vectors"]) for group in groups)
    README.write_text(NUMBER.sub(str(number), README.read_text("utf-8")), encoding="utf-8")


def _markdown(lines: list[list[str]]) -> str:
    heading, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([heading, f"|---|{'---:|' * (len(lines[0]) - 1)}", *rows])


def _left_out(columns: list[Column]) -> str:
    return "".join(f"\n{NOT_RUN}: {c.language}, {c.not_run}.\n" for c in columns if c.not_run)


def _versions(columns: list[Column]) -> str:
    lines = [f"| {column.language} | {column.versions} |" for column in columns if column.versions]
    return "\n".join(["| language | with |", "|---|---|", *lines]) + "\n" if lines else ""
