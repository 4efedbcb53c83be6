"""How many cores this process may use, and how a CPU engine divides them."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .cgroup import limits

MOST_LANES = 4
"""More cores than this make a lane faster instead: docs/concepts/decisions/0007."""


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
    return max(1, min([open_cores(), *map(math.ceil, quotas(root))]))


def open_cores() -> int:
    """Cores that the system lets this process run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def quotas(root: Path) -> Iterator[float]:
    """The share of time, in cores, that each cgroup allows which holds the process and has one."""
    files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    for words in limits(root, "cpu", ["cpu.max"], files):
        if len(words) == 2 and all(word.isdecimal() for word in words):
            quota_us, period_us = map(int, words)
            if period_us:
                yield quota_us / period_us
