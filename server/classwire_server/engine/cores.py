"""How many cores this process may use, and how a CPU engine divides them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_LANES = 4
"""More cores than this make a lane faster instead: docs/decisions/0007."""


@dataclass(frozen=True)
class Division:
    """`lanes` batches at the same time, with `threads` threads each."""

    lanes: int
    threads: int


def divide(cores: int, lanes: int, threads: int) -> Division:
    """Divide cores; `lanes` and `threads` are what the user asked for, 0 for what is best.

    Threads of one lane wait for each other at every operator, which stalls when other processes
    keep a core busy; lanes do not wait. So there are lanes first, and threads where cores are left.
    """
    if not lanes:
        lanes = max(1, cores // threads) if threads else min(cores, MOST_LANES)
    return Division(lanes, threads or max(1, cores // lanes))


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may run on, cgroup limits included, rounded up: at least 1.

    `root` is where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = (-(-quota_us // period_us) for quota_us, period_us in _quotas(root))
    return max(1, min([cores or 1, *limits]))


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Time allowed in each period, both in microseconds, by every cgroup that holds the process."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: the file holds both; a parent's limit holds as well
            mount, names = root / "sys/fs/cgroup", ["cpu.max"]
        elif "cpu" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        here = mount / path.lstrip("/")
        for folder in (here, *here.parents):
            values = " ".join(_read(folder / name) for name in names).split()
            if len(values) == 2 and all(value.isdigit() for value in values):
                yield int(values[0]), int(values[1])
            if folder == mount:
                break


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
