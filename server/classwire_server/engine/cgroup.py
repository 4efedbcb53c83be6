"""What the cgroups that hold this process say of it, in version 1 and version 2."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def limits(
    root: Path, controller: str, names: Sequence[str], names_of_version_1: Sequence[str]
) -> Iterator[list[str]]:
    """The words in the files of a controller, for every cgroup that holds the process.

    A parent's limit holds as well. `root` is where /proc and /sys are; a file that is not there has
    no words, and a line that names no cgroup none either.
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
