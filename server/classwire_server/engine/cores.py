"""The cores that this process may use, their division into lanes and threads, and their kind."""

import math
import os
import platform
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import Choice
from .cgroup import limits

MOST_LANES = 4
"""Further cores become threads of these lanes: docs/concepts/decisions/0007."""


@dataclass(frozen=True)
class Division:
    """`lanes` batches run at the same time, with `threads` threads each; `choices` says why."""

    lanes: int
    threads: int
    choices: tuple[Choice, ...] = field(default=(), compare=False)


def divide(cores: int, lanes: int, threads: int) -> Division:
    """Divide CPU cores; `lanes` and `threads` are the user's settings, 0 for automatic.

    The threads of a lane wait for each other at every operator, so a core that other processes
    keep busy stalls them all. Lanes never wait for each other. Cores therefore become lanes first,
    and the rest become threads.
    """
    if threads:
        best, why = max(1, cores // threads), "the cores, divided by --threads"
    else:
        best, why = min(cores, MOST_LANES), f"one for each core, at most {MOST_LANES}"
    each = max(1, cores // (lanes or best))
    return _division(lanes, threads, (best, why), (each, "the cores, divided among the lanes"))


def divide_gpu(lanes: int, threads: int) -> Division:
    """Divide a GPU: one lane unless the user sets more."""
    one = 1, "a GPU computes one batch at a time"
    return _division(lanes, threads, one, one)


def _division(
    lanes: int, threads: int, best_lanes: tuple[int, str], best_threads: tuple[int, str]
) -> Division:
    """The user's values, or the best ones where they are 0, each with its reason."""
    lanes, lanes_why = (lanes, "set by --lanes") if lanes else best_lanes
    threads, threads_why = (threads, "set by --threads") if threads else best_threads
    choices = Choice("lanes", str(lanes), lanes_why), Choice("threads", str(threads), threads_why)
    return Division(lanes, threads, choices)


def cores_choice() -> Choice:
    """The cores that this process may use, and what limits them."""
    quota = min(quotas(Path("/")), default=None)
    limited = "no cgroup limits them" if quota is None else f"a cgroup allows {quota:g}"
    return Choice("cores", str(usable_cores()), f"{open_cores()} open to this process; {limited}")


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use, limited by its cgroups and rounded up: at least 1.

    `root` is the folder of /proc and /sys.
    """
    return max(1, min([open_cores(), *map(math.ceil, quotas(root))]))


def open_cores() -> int:
    """Cores that this process may be scheduled on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quota, in cores, of each cgroup of this process that has one."""
    files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    for words in limits(root, "cpu", ["cpu.max"], files):
        if len(words) == 2 and all(word.isdecimal() for word in words):
            quota_us, period_us = map(int, words)
            if period_us:
                yield quota_us / period_us


def processor_features() -> tuple[str, ...]:
    """Model and instruction sets of the processor, as far as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return (platform.processor(),)
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    first = lines[: lines.index("")] if "" in lines else lines
    return tuple(sorted(line for line in first if line.split("\t")[0].rstrip(": ") in wanted))


def lower_priority() -> None:
    """Let all others go first: gives the calling thread the lowest priority, on Linux."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
