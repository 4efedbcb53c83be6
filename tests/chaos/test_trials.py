"""Runs the trials of faults in short form."""

import os
from pathlib import Path

import pytest

from tests.chaos.trial import Finding, Plan
from tests.chaos.trials import TRIALS


def found_by(name: str, work: Path) -> list[Finding]:
    """The findings of a trial in short form."""
    plan = Plan(True, work, sorted(os.sched_getaffinity(0)), print)
    findings = TRIALS[name].run(plan).findings
    assert findings
    return findings


@pytest.mark.parametrize("name", ["kills", "poison", "failover", "rotation", "swaps", "storm"])
def test_trial(name: str, tmp_path: Path) -> None:
    """Callers get every right answer while processes are killed, hang or come back, and while
    certificates, tokens and models change. A poison text fails alone. Calls with short deadlines
    leave nothing behind.
    """
    assert [finding for finding in found_by(name, tmp_path) if not finding.is_met] == []
