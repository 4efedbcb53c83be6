"""The limits of the cgroups that this process is in, for cgroup versions 1 and 2."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def limits(
    root: Path, controller: str, names: Sequence[str], names_of_version_1: Sequence[str]
) -> Iterator[list[str]]:
    """Yield the words in a controller's files, for each cgroup of this process and its parents.

    The limits of parents apply as well. `root` is the folder of /proc and /sys. A missing file
    counts as empty; lines that name no cgroup are skipped.
    """
    entries = (line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines())
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if not controllers:
            mount, files = root / "sys/fs/cgroup", names
        elif controller in controllers.split(","):
            mount, files = root / "sys/fs/cgroup" / controller, names_of_version_1
        else:
            continue
        here = mount / path.lstrip("/")
        for folder in (here, *here.parents):
            yield " ".join(_read(folder / name) for name in files).split()
            if folder == mount:
                break


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).strip()  # a cgroup's name may be any bytes
    except OSError:
        return ""
