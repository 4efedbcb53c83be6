"""Results of all languages: the sum, the table, and the results file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NOT_RUN = "not run"


@dataclass
class Column:
    """One language. `passed` and `failed` are counts by row: groups, `corrupted`, `examples`.

    `versions` are those of its libraries. `not_run` is the reason why it did not run. `defects` are
    faults outside the counted rows.
    """

    language: str
    passed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    not_run: str = ""
    versions: str = ""

    def add(self, row: str, passed: int, failed: int) -> None:
        """Add counts to a row."""
        self.passed[row] = self.passed.get(row, 0) + passed
        self.failed[row] = self.failed.get(row, 0) + failed

    def cell(self, row: str) -> str:
        """Return a row's cell: the passed count, with the total if any failed."""
        if row not in self.passed:
            return NOT_RUN
        passed, failed = self.passed[row], self.failed[row]
        return f"{passed} of {passed + failed}" if failed else str(passed)


def table(columns: Sequence[Column], rows: Sequence[str]) -> list[list[str]]:
    """Return the heading and a line for each row, with a cell for each language."""
    heading = ["", *(column.language for column in columns)]
    return [heading, *([row, *(column.cell(row) for column in columns)] for row in rows)]


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """Return the table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def total(columns: Sequence[Column]) -> tuple[int, int]:
    """Return the total numbers of passed and failed."""
    passed = sum(sum(column.passed.values()) for column in columns)
    return passed, sum(sum(column.failed.values()) for column in columns)


def write(columns: Sequence[Column], about: Mapping[str, Any], file: Path) -> None:
    """Write all results as JSON."""
    result = {**about, "languages": [asdict(column) for column in columns]}
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> tuple[list[Column], dict[str, Any]]:
    """Read the results that `write` wrote."""
    result = json.loads(file.read_text(encoding="utf-8"))
    return [Column(**column) for column in result.pop("languages")], result
