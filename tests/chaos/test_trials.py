"""Trials of faults, in short: what they find at every change, and that they find anything."""

import os
from pathlib import Path

import pytest

from tests.chaos.trial import Finding, Plan
from tests.chaos.trials import TRIALS


def found_by(name: str, work: Path) -> list[Finding]:
    """What a trial finds when it is run in short."""
    plan = Plan(True, work, sorted(os.sched_getaffinity(0)), print)
    findings = TRIALS[name].run(plan).findings
    assert findings
    return findings


@pytest.mark.parametrize("name", ["kills", "poison", "failover", "rotation", "swaps", "storm"])
def test_trial(name: str, tmp_path: Path) -> None:
    """Callers get every answer, and the right one, while processes are killed, hang or come back;
    poison fails alone; certificates, tokens and models change unseen; callers without time leave
    nothing behind.
    """
    assert [finding for finding in found_by(name, tmp_path) if not finding.is_met] == []
