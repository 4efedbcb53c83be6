"""Write the table of model types into docs/reference/checkpoints.md.

python -m tests.compat.publication compat.json
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import in_words
from scripts.pages import between

from .findings import RIGHT, Finding, counts

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checkpoints.md"
BEGIN, END = "<!-- types: written by tests.compat.publication -->", "<!-- /types -->"
FASTER = ("auto", "int8")

Results = Mapping[str, Any]


def table(results: Results) -> str:
    """Return a row for each type."""
    faster = {
        precision: {each["type"]: each for each in results[precision]}
        for precision in FASTER
        if precision in results
    }
    rows = [
        f"| type | float32 | layout |{''.join(f' {name} |' for name in faster)} note |",
        f"|---|---|---|{'---|' * len(faster)}---|",
    ]
    for each in results["float32"]:
        others = "".join(f" {_other(found.get(each['type']))} |" for found in faster.values())
        rows.append(
            f"| `{each['type']}` | {_verdict(each)} | {each['layout']} |{others} "
            f"{_note(each, results['listed'])} |"
        )
    return "\n".join(rows)


def _verdict(found: Finding) -> str:
    if found["verdict"] == RIGHT:
        return f"right, {found['deviation']:.0e}"
    return f"**{found['verdict'].replace('_', ' ')}**"


def _other(found: Finding | None) -> str:
    if found is None:
        return ""
    if found["verdict"] == RIGHT:
        return f"{found['precision']}, {found['deviation']:.0e}"
    return f"**{found['verdict'].replace('_', ' ')}**"


def _note(found: Finding, listed: Mapping[str, Mapping[str, str]]) -> str:
    reason = listed.get(found["verdict"], {}).get(found["type"]) or found["reason"]
    parts = [reason, found["stand_in"] and f"stand-in: {found['stand_in']}"]
    return ". ".join(part for part in parts if part).replace("|", "\\|").replace("<", "&lt;")


def section(results: Results) -> str:
    """Return the page's section: counts, circumstances and the table."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"- {precision}: {_sum(results[precision])}"
        for precision in ("float32", *FASTER)
        if precision in results
    ]
    return (
        f"`python -m tests.compat{' --precisions' * ('int8' in results)}`, "
        f"{results['taken_at']}, {in_words(results['machine'])}, {versions}, "
        f"{results['seconds']} s.\n\n" + "\n".join(lines) + f"\n\n{table(results)}"
    )


def _sum(findings: Sequence[Finding]) -> str:
    found = ", ".join(
        f"{number} {verdict.replace('_', ' ')}" for verdict, number in counts(findings).items()
    )
    return f"{len(findings)} types: {found}"


def published(page: str, results: Results) -> str:
    """Return the page with these results. Raises ValueError for a page without the markers."""
    return between(page, BEGIN, END, section(results))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.compat.publication"
    )
    parser.add_argument("result", type=Path, help="what `python -m tests.compat` has written")
    results = json.loads(parser.parse_args().result.read_text(encoding="utf-8"))
    PAGE.write_text(published(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
