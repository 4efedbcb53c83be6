"""Say which build of torch pip will fetch, and how large it is, before anything is downloaded.

    python -m scripts.torch_build

pip lists the builds of the locked release that its indexes have. Prints nothing where that release
is installed already.
"""

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
TIMEOUT_S = 60
CPU_GB = 0.2
DEFAULT_GB = {"Darwin": 0.1, "Linux": 2.7, "Windows": 0.1}
"""Download of torch 2.13.0 from the default index; on Linux (x86-64) with NVIDIA's libraries."""


def locked_release() -> str:
    """Return the release of torch that the lock names."""
    found = re.search(r"^torch==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{LOCK.name} names no torch")
    return found[1]


def offered(release: str) -> str:
    """Return the version that pip prefers among the builds of a release, as in `2.13.0+cpu`.

    It is the release itself where pip does not know.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    except subprocess.TimeoutExpired:
        return release
    return preferred(listed, release)


def preferred(listed: str, release: str) -> str:
    """Return the newest build of a release in what `pip index versions` prints."""
    versions = re.findall(r"[^\s,()]+", listed)
    return next((each for each in versions if each.partition("+")[0] == release), release)


def announcement(version: str, system: str, *, has_nvidia_driver: bool) -> Iterator[str]:
    """Yield the lines that tell what a version of torch costs on a system (`platform.system`)."""
    local = version.partition("+")[2]
    if local == "cpu" or (not local and system != "Linux"):
        size_gb = CPU_GB if local else DEFAULT_GB.get(system, CPU_GB)
        yield f"pip will fetch torch {version}: the CPU build, about {size_gb} GB."
        return
    yield (
        f"pip will fetch torch {version}: the GPU build, about {DEFAULT_GB['Linux']} GB "
        "with the GPU libraries."
    )
    if system == "Linux" and not has_nvidia_driver:
        yield (
            f"This machine has no NVIDIA driver: for the CPU build (about {CPU_GB} GB), stop here "
            "and set PIP_EXTRA_INDEX_URL to the index that torch's install page names for "
            'the compute platform "CPU".'
        )


def main() -> None:
    """Print the announcement for this machine."""
    release = locked_release()
    try:
        if importlib.metadata.version("torch").partition("+")[0] == release:
            return
    except importlib.metadata.PackageNotFoundError:
        pass
    has_driver = bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()
    for line in announcement(offered(release), platform.system(), has_nvidia_driver=has_driver):
        print(line)


if __name__ == "__main__":
    main()
