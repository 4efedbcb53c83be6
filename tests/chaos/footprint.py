"""What a process holds: memory, threads, open files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Footprint:
    """Of one process at one moment.

    `memory_bytes` is its share of memory (PSS), `own_bytes` the part of it that is in no file: the
    rest depends on who else has mapped the same libraries.
    """

    memory_bytes: int
    own_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The footprint of a process that runs."""
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        memory, own = (
            1_024 * int(re.search(rf"^{name}:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
            for name in ("Pss", "Pss_Anon")
        )
        return cls(memory, own, threads, len(os.listdir(f"/proc/{pid}/fd")))

    def is_within(self, other: "Footprint") -> bool:
        """Whether there are no more threads and files than in another."""
        return self.threads <= other.threads and self.descriptors <= other.descriptors
