"""The memory budget, and the limit of the cgroup."""

import logging
import math
from pathlib import Path

import pytest

from classwire_server.config.model_source import ModelSource
from classwire_server.registry.memory_budget import MemoryBudget, cgroup_bytes
from classwire_server.registry.registry import Registry


def _cgroup(root: Path, line: str, limit: Path, text: str) -> None:
    for path, content in ((root / "proc/self/cgroup", line), (root / limit, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_limit_of_the_cgroup(tmp_path: Path) -> None:
    """The server reads the limit of both cgroup versions, or finds that there is none."""
    v2, v1 = tmp_path / "2", tmp_path / "1"
    _cgroup(v2, "0::/pod\n", Path("sys/fs/cgroup/pod/memory.max"), "1000000\n")
    _cgroup(v1, "4:memory:/pod\n", Path("sys/fs/cgroup/memory/pod/memory.limit_in_bytes"), "7\n")
    assert (cgroup_bytes(v2), cgroup_bytes(v1)) == (1_000_000, 7)
    _cgroup(v2, "0::/pod\n", Path("sys/fs/cgroup/pod/memory.max"), "max\n")
    assert cgroup_bytes(v2) == cgroup_bytes(tmp_path / "none") == math.inf


def test_a_budget_above_the_cgroups_limit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a budget logs a warning. A lower one, or none, does not."""
    monkeypatch.setattr("classwire_server.registry.memory_budget.cgroup_bytes", lambda: 5_000_000)
    registry = Registry([ModelSource("m", "m")])
    with caplog.at_level(logging.WARNING):
        MemoryBudget(5, registry)
        MemoryBudget(0, registry)
        assert not caplog.records
        MemoryBudget(6, registry)
    assert "6 MB are more than the 5 MB that the cgroup allows" in caplog.text
