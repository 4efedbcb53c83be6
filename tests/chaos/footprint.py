"""Resources of a process: memory, threads, open files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Footprint:
    """Resources of one process at one moment.

    `memory_bytes` is its proportional set size (PSS). `own_bytes` is the part that no file
    backs; the rest depends on other processes that map the same libraries.
    """

    memory_bytes: int
    own_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the footprint of a running process."""
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        memory, own = (
            1_024 * int(re.search(rf"^{name}:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
            for name in ("Pss", "Pss_Anon")
        )
        return cls(memory, own, threads, len(os.listdir(f"/proc/{pid}/fd")))

    def is_within(self, other: "Footprint") -> bool:
        """Return whether threads and open files do not exceed another footprint's."""
        return self.threads <= other.threads and self.descriptors <= other.descriptors
