"""What a trial is, and its findings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One requirement of a trial: its target, the measured result, and whether it is met."""

    what: str
    asked: str
    found: str
    is_met: bool


@dataclass
class Report:
    """The findings of a trial. `series` holds numbers for charts, as plain JSON."""

    findings: list[Finding] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, asked: str, found: object, is_met: bool) -> None:
        """Add a finding."""
        self.findings.append(Finding(what, asked, str(found), bool(is_met)))


@dataclass(frozen=True)
class Plan:
    """How to run a trial; `is_short` runs less of everything.

    `work` is a folder for checkpoints, `say` shows progress.
    """

    is_short: bool
    work: Path
    cores: Sequence[int]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """A trial: its name, its description in one line, and its function."""

    name: str
    about: str
    run: Callable[[Plan], Report]
