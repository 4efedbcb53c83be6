"""How many cores this process may use, and how a CPU engine divides them."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import Choice
from .cgroup import limits

MOST_LANES = 4
"""More cores than this make a lane faster instead: docs/concepts/decisions/0007."""


@dataclass(frozen=True)
class Division:
    """`lanes` batches at the same time, with `threads` threads each; `choices` tells why."""

    lanes: int
    threads: int
    choices: tuple[Choice, ...] = field(default=(), compare=False)


def divide(cores: int, lanes: int, threads: int) -> Division:
    """Divide cores; `lanes` and `threads` are what the user asked for, 0 for what is best.

    Threads of one lane wait for each other at every operator, which stalls when other processes
    keep a core busy; lanes do not wait. So there are lanes first, and threads where cores are left.
    """
    if threads:
        best, why = max(1, cores // threads), "the cores, divided by --threads"
    else:
        best, why = min(cores, MOST_LANES), f"one for each core, at most {MOST_LANES}"
    each = max(1, cores // (lanes or best))
    return _division(lanes, threads, (best, why), (each, "the cores, divided among the lanes"))


def divide_gpu(lanes: int, threads: int) -> Division:
    """Divide a GPU, which computes one batch at a time unless the user asks for more."""
    one = 1, "a GPU computes one batch at a time"
    return _division(lanes, threads, one, one)


def _division(
    lanes: int, threads: int, best_lanes: tuple[int, str], best_threads: tuple[int, str]
) -> Division:
    """What the user asked for, or else what is best, each with its reason."""
    lanes, lanes_why = (lanes, "as --lanes says") if lanes else best_lanes
    threads, threads_why = (threads, "as --threads says") if threads else best_threads
    choices = Choice("lanes", str(lanes), lanes_why), Choice("threads", str(threads), threads_why)
    return Division(lanes, threads, choices)


def cores_choice() -> Choice:
    """The cores that this process may use, and what limits them."""
    quota = min(quotas(Path("/")), default=None)
    limited = "no cgroup limits them" if quota is None else f"a cgroup allows {quota:g}"
    return Choice("cores", str(usable_cores()), f"{open_cores()} open to this process; {limited}")


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
