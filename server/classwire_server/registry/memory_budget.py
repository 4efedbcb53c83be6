"""The memory that the models of a server may need together."""

import logging
import math
import os
from pathlib import Path

from classwire_server.config.model_source import ModelSource
from classwire_server.engine.cgroup import limits
from classwire_server.errors import OverBudget

from .registry import Registry

log = logging.getLogger(__name__)

MB = 1_000_000
_WEIGHTS = ("*.safetensors", "*.bin")


class MemoryBudget:
    """Rejects models that do not fit into the budget next to those in a registry.

    A model needs the peak memory of its processes until they are ready. That includes the reading
    and conversion of its weights, and batches larger than any that it will serve, also if an
    earlier start has run these. 0 MB means no budget.
    """

    def __init__(self, budget_mb: int, registry: Registry) -> None:
        self._budget_mb = budget_mb
        self._registry = registry
        allowed_bytes = cgroup_bytes()
        if budget_mb * MB > allowed_bytes:
            log.warning(
                "--memory-budget-mb: %d MB are more than the %d MB that the cgroup allows; "
                "the kernel kills processes above that",
                budget_mb,
                allowed_bytes // MB,
            )

    def check_files(self, source: ModelSource) -> None:
        """Raise OverBudget if the weights in a folder alone do not fit, before they are read."""
        if self._budget_mb and source.is_folder:
            self.check(source.name, _weights_bytes(Path(os.path.expanduser(source.location))))

    def check(self, name: str, needs_bytes: int) -> None:
        """Raise OverBudget if a model needs more than is left."""
        if not self._budget_mb:
            return
        entries = self._registry.entries()
        in_use_mb = _mb(sum(entry.served.memory_bytes for entry in entries if entry.served))
        needs_mb = _mb(needs_bytes)
        if in_use_mb + needs_mb > self._budget_mb:
            raise OverBudget(needs_mb, in_use_mb, self._budget_mb, name)


def cgroup_bytes(root: Path = Path("/")) -> float:
    """The memory limit of this process's cgroups; math.inf without one.

    `root` is the folder of /proc and /sys.
    """
    allowed = limits(root, "memory", ["memory.max"], ["memory.limit_in_bytes"])
    return min((int(words[0]) for words in allowed if "".join(words).isdecimal()), default=math.inf)


def _weights_bytes(folder: Path) -> int:
    """The size of the weights in a folder, in the first format of _WEIGHTS that it has."""
    found = (filter(Path.is_file, folder.glob(pattern)) for pattern in _WEIGHTS)
    kinds = ([path.stat().st_size for path in paths] for paths in found)
    return sum(next(filter(None, kinds), []))


def _mb(size_bytes: int) -> int:
    return math.ceil(size_bytes / MB)
