"""Short runs of the fault trials."""

import os
from pathlib import Path

import pytest

from tests.chaos.trial import Finding, Plan
from tests.chaos.trials import TRIALS


def found_by(name: str, work: Path) -> list[Finding]:
    """Return the findings of a short run."""
    plan = Plan(True, work, sorted(os.sched_getaffinity(0)), print)
    findings = TRIALS[name].run(plan).findings
    assert findings
    return findings


@pytest.mark.parametrize("name", ["kills", "poison", "failover", "rotation", "swaps", "storm"])
def test_trial(name: str, tmp_path: Path) -> None:
    """Every finding of a fault trial is met."""
    assert [finding for finding in found_by(name, tmp_path) if not finding.is_met] == []
