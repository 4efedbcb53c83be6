"""The cores that a worker may use, and their division into lanes and threads."""

from pathlib import Path

import pytest

from classwire_server.engine.cores import Division, divide, usable_cores


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 cores, all open to this process."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("quota", "cores"), [("max", 16), ("200000", 2), ("150000", 2), ("1000", 1), ("9900000", 16)]
)
def test_cgroup_limit(tmp_path: Path, quota: str, cores: int) -> None:
    """A cgroup's limit applies if it is below the machine's cores, rounded up to whole cores."""
    _write(tmp_path / "proc/self/cgroup", "0::/service\n")
    _write(tmp_path / "sys/fs/cgroup/service/cpu.max", f"{quota} 100000\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("machine")
def test_limit_of_a_parent_cgroup(tmp_path: Path) -> None:
    """The limit of a cgroup applies to the cgroups inside it."""
    _write(tmp_path / "proc/self/cgroup", "0::/pod/container\n")
    _write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "300000 100000\n")
    _write(tmp_path / "sys/fs/cgroup/pod/container/cpu.max", "max 100000\n")
    assert usable_cores(tmp_path) == 3


@pytest.mark.usefixtures("machine")
def test_limit_of_version_1(tmp_path: Path) -> None:
    """Version 1 keeps quota and period in two files; -1 means no limit."""
    _write(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/service\n0::/\n")
    folder = tmp_path / "sys/fs/cgroup/cpu/service"
    _write(folder / "cpu.cfs_period_us", "50000\n")
    _write(folder / "cpu.cfs_quota_us", "200000\n")
    assert usable_cores(tmp_path) == 4
    _write(folder / "cpu.cfs_quota_us", "-1\n")
    assert usable_cores(tmp_path) == 16


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("limit", ["200000 0", "² 100000", "200000", "200000 100000 1"])
def test_malformed_limits_are_ignored(tmp_path: Path, limit: str) -> None:
    """A malformed limit does not reduce the machine's cores."""
    _write(tmp_path / "proc/self/cgroup", "0::/service\n")
    _write(tmp_path / "sys/fs/cgroup/service/cpu.max", limit)
    assert usable_cores(tmp_path) == 16


@pytest.mark.usefixtures("machine")
def test_malformed_lines_and_names_of_cgroups(tmp_path: Path) -> None:
    """Lines that name no cgroup are skipped, and a name may be any bytes."""
    _write(tmp_path / "proc/self/cgroup", "")
    (tmp_path / "proc/self/cgroup").write_bytes(b"garbage\n0:x\n0::/pod/\xff\xfe\n")
    _write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "300000 100000\n")
    assert usable_cores(tmp_path) == 3


@pytest.mark.usefixtures("machine")
def test_no_cgroups(tmp_path: Path) -> None:
    """Without cgroups the worker may use all cores that the process may be scheduled on."""
    assert usable_cores(tmp_path) == 16


@pytest.mark.parametrize(
    ("cores", "lanes", "threads", "division"),
    [
        (1, 0, 0, Division(1, 1)),
        (2, 0, 0, Division(2, 1)),
        (4, 0, 0, Division(4, 1)),
        (16, 0, 0, Division(4, 4)),
        (16, 2, 0, Division(2, 8)),
        (16, 0, 8, Division(2, 8)),
        (2, 0, 8, Division(1, 8)),
        (2, 8, 0, Division(8, 1)),
        (2, 3, 5, Division(3, 5)),
    ],
)
def test_division(cores: int, lanes: int, threads: int, division: Division) -> None:
    """Cores become lanes first, then threads; the user's values override both."""
    assert divide(cores, lanes, threads) == division
