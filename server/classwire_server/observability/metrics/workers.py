"""The processes that compute, read when it is asked for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from classwire_server.registry.registry import Registry

from . import model_definitions as table
from .families import Family, family


class Usage(NamedTuple):
    """What a process takes."""

    memory_bytes: int
    cpu_s: float

    @staticmethod
    def of(pid: int) -> "Usage | None":
        """Of a process that runs; None where the system does not tell."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # its name may hold anything
        ticks = int(fields[11]) + int(fields[12])
        return Usage(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


class WorkerMetrics:
    """Collects what is known of the workers of all models."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        """Their metrics."""
        workers = {
            (entry.source.name, str(number), worker.device): worker
            for entry in self._registry.entries()
            if entry.served is not None
            for number, worker in enumerate(entry.served.engine.workers)
        }
        usages = {
            labels: usage
            for labels, worker in workers.items()
            if worker.is_up and (usage := Usage.of(worker.pid))
        }
        yield family(table.WORKER_UP, [(labels, w.is_up) for labels, w in workers.items()])
        yield family(table.WORKER_RESTARTS, [(labels, w.restarts) for labels, w in workers.items()])
        yield family(
            table.WORKER_MEMORY, [(labels, u.memory_bytes) for labels, u in usages.items()]
        )
        yield family(table.WORKER_CPU, [(labels, u.cpu_s) for labels, u in usages.items()])
