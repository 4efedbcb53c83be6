"""Print which build of torch pip will download, and its size.

    python -m scripts.torch_build

Asks pip for the builds of the locked release. Prints nothing if that release is installed already.
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
CUDA_GB, LINUX_CPU_GB, OTHER_CPU_GB = 2.7, 0.2, 0.1
"""Download sizes of torch 2.13.0: CUDA with NVIDIA's libraries; CPU on Linux; CPU elsewhere."""


def locked_release() -> str:
    """Return the locked release of torch."""
    found = re.search(r"^torch==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{LOCK.name} does not name torch")
    return found[1]


def offered(release: str) -> str:
    """Return the version that pip prefers among the builds of a release, as in `2.13.0+cpu`.

    Returns the release itself if pip lists no build.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    except subprocess.TimeoutExpired:
        return release
    return preferred(listed, release)


def preferred(listed: str, release: str) -> str:
    """Return the newest build of a release in the output of `pip index versions`."""
    versions = re.findall(r"[^\s,()]+", listed)
    return next((each for each in versions if each.partition("+")[0] == release), release)


def announcement(version: str, system: str, *, has_nvidia_driver: bool) -> Iterator[str]:
    """Yield the announcement's lines for a version of torch and a `platform.system()`."""
    local = version.partition("+")[2]
    if local == "cpu" or (not local and system != "Linux"):
        size_gb = LINUX_CPU_GB if system == "Linux" else OTHER_CPU_GB
        yield f"pip will fetch torch {version}: the CPU build, about {size_gb} GB."
        return
    kind = local or "CUDA"
    yield (
        f"pip will fetch torch {version}: the {kind} build, about {CUDA_GB} GB with the libraries "
        "that it needs."
    )
    if not has_nvidia_driver:
        yield (
            f"No NVIDIA driver found: for the CPU build (about {LINUX_CPU_GB} GB), press Ctrl-C "
            "and set PIP_EXTRA_INDEX_URL to the index that torch's install page names for the "
            'compute platform "CPU".'
        )


def main() -> None:
    """Print the announcement for this machine."""
    release = locked_release()
    try:
        if importlib.metadata.version("torch").partition("+")[0] == release:
            return
    except importlib.metadata.PackageNotFoundError:
        pass
    print("Asking the package index for the builds of torch ...", flush=True)
    has_driver = bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()
    for line in announcement(offered(release), platform.system(), has_nvidia_driver=has_driver):
        print(line)


if __name__ == "__main__":
    main()
