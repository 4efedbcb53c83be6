"""Metrics of the worker processes, read at each scrape."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from classwire_server.registry.registry import Registry

from . import model_definitions as definitions
from .families import Family, family


class Usage(NamedTuple):
    """Memory and processor time of a process."""

    memory_bytes: int
    cpu_s: float

    @staticmethod
    def of(pid: int) -> "Usage | None":
        """Return the usage of a running process, or None if /proc does not have it."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name may contain spaces
        ticks = int(fields[11]) + int(fields[12])
        return Usage(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


class WorkerMetrics:
    """Collects the metrics of the workers of all models."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        """Yield these metrics."""
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
        yield family(definitions.WORKER_UP, [(labels, w.is_up) for labels, w in workers.items()])
        yield family(
            definitions.WORKER_RESTARTS, [(labels, w.restarts) for labels, w in workers.items()]
        )
        yield family(
            definitions.WORKER_MEMORY, [(labels, u.memory_bytes) for labels, u in usages.items()]
        )
        yield family(definitions.WORKER_CPU, [(labels, u.cpu_s) for labels, u in usages.items()])
