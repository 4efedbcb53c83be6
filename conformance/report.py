"""What came of all languages: the sum, the table, and the file that holds everything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NOT_RUN = "not run"


@dataclass
class Column:
    """One language. `passed` and `failed` are counts by row: groups, `corrupted`, `examples`.

    `versions` are those of its libraries. `not_run` says why it could not be run. `defects` are
    what went wrong beside what is counted.
    """

    language: str
    passed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    not_run: str = ""
    versions: str = ""

    def add(self, row: str, passed: int, failed: int) -> None:
        """Count what passed and failed in one row."""
        self.passed[row] = self.passed.get(row, 0) + passed
        self.failed[row] = self.failed.get(row, 0) + failed

    def cell(self, row: str) -> str:
        """How many passed, and of how many, where not all did."""
        if row not in self.passed:
            return NOT_RUN
        passed, failed = self.passed[row], self.failed[row]
        return f"{passed} of {passed + failed}" if failed else str(passed)


def table(columns: Sequence[Column], rows: Sequence[str]) -> list[list[str]]:
    """A line for each row, a place for each language, and a heading."""
    heading = ["", *(column.language for column in columns)]
    return [heading, *([row, *(column.cell(row) for column in columns)] for row in rows)]


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """The table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def total(columns: Sequence[Column]) -> tuple[int, int]:
    """How many passed and how many failed, of all that was run."""
    passed = sum(sum(column.passed.values()) for column in columns)
    return passed, sum(sum(column.failed.values()) for column in columns)


def write(columns: Sequence[Column], about: Mapping[str, Any], file: Path) -> None:
    """Write everything that was found, as JSON."""
    result = {**about, "languages": [asdict(column) for column in columns]}
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> tuple[list[Column], dict[str, Any]]:
    """What `write` wrote."""
    result = json.loads(file.read_text(encoding="utf-8"))
    return [Column(**column) for column in result.pop("languages")], result
