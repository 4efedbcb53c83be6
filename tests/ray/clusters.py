"""Ray clusters within this machine: each node is a raylet, with processes of its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from benchmarks.instrument import descendants

HOST = "127.0.0.2"
"""Of this machine alone. Ray takes 127.0.0.1 for the address of a network card."""
START_TIMEOUT_S = 180.0
OBJECT_STORE_BYTES = 80_000_000
"""The least that Ray allows is a little below."""


@contextmanager
def cluster(nodes: int, cpus: int = 1) -> Iterator[Cluster]:
    """Run a head without cores and some nodes, and connect this process, until the block ends."""
    running = Cluster(initialize_head=True, head_node_args=_node(0, include_dashboard=False))
    try:
        for _ in range(nodes):
            running.add_node(wait=False, **_node(cpus))
        running.wait_for_nodes(START_TIMEOUT_S)
        ray.init(address=running.address, log_to_driver=False, logging_level="WARNING")
        yield running
    finally:
        ray.shutdown()
        running.shutdown()


def _node(cpus: int, **options: Any) -> dict[str, Any]:
    return {
        "num_cpus": cpus,
        "num_gpus": 0,
        "node_ip_address": HOST,
        "object_store_memory": OBJECT_STORE_BYTES,
        **options,
    }


def kill_tree(pid: int) -> None:
    """Kill a process and all below it at once: none of them can end in order."""
    pids = [pid, *descendants(pid)]
    for each in pids:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGSTOP)
    for each in pids:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def named(pids: list[int], words: str) -> list[int]:
    """Return those processes whose command line has these words."""
    return [pid for pid in pids if words in _command(pid)]


def _command(pid: int) -> str:
    with suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""
