"""What a trial is, and what it found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that a trial must show: what was asked, what was found, whether that is met."""

    what: str
    asked: str
    found: str
    is_met: bool


@dataclass
class Report:
    """What a trial found. `series` are numbers for charts, plain JSON."""

    findings: list[Finding] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, asked: str, found: object, is_met: bool) -> None:
        """Add a finding."""
        self.findings.append(Finding(what, asked, str(found), bool(is_met)))


@dataclass(frozen=True)
class Plan:
    """How a trial is to be run: `is_short` for every day, with less of everything.

    `work` is a folder for checkpoints, `say` shows progress.
    """

    is_short: bool
    work: Path
    cores: Sequence[int]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """A trial by name, what it does in one line, and how it is run."""

    name: str
    about: str
    run: Callable[[Plan], Report]
