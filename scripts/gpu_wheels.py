"""Collect into `wheels/` what `make gpu` needs on a machine without a network.

    python -m scripts.gpu_wheels [--python 3.12]

The machine brings torch and transformers with all that they need. The rest comes in the versions of
requirements.lock, for Linux on x86-64: what client and server need, and pytest. Fails if that is
more than MOST_MB.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .dependencies import OWN, needs
from .locked import LOCK, pins
from .pages import ROOT

WHEELS = ROOT / "wheels"
MOST_MB = 40
"""Keeps the folder small enough to copy with the checkout."""
ON_THE_MACHINE = ("torch", "transformers", "tokenizers", "safetensors", "sentencepiece", "numpy")
"""Packages that belong together there. Their own needs are there too."""
FOR_TESTS = ("pytest", "pytest-timeout")
GLIBC = (17, 24, 27, 28, 31, 34)
"""Minor versions of glibc 2 whose wheels run on a current Linux. pip matches each exactly."""


def wanted() -> Iterator[str]:
    """Yield the names of the packages to collect."""
    waiting = [*OWN, *FOR_TESTS]
    seen = set(ON_THE_MACHINE)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        waiting += needs(name)
        if name not in OWN:
            yield name


def requirements(lines: list[str]) -> list[str]:
    """Return the wanted packages with the versions of the lock's lines."""
    versions = pins(lines)
    return sorted(str(Requirement(f"{name}=={versions[name]}")) for name in wanted())


def platforms() -> Iterator[str]:
    """Yield pip's arguments for the platforms whose wheels run there."""
    for minor in GLIBC:
        yield from ("--platform", f"manylinux_2_{minor}_x86_64")
    for old in ("manylinux2014", "manylinux2010", "manylinux1"):
        yield from ("--platform", f"{old}_x86_64")


def collect(folder: Path, python: str) -> None:
    """Download the wheels into an empty folder, for an interpreter of this version."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
        "--no-deps", "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", python, *platforms(), "--dest", str(folder), *requirements(lines),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def build(folder: Path) -> None:
    """Build the wheels of both distributions into a folder."""
    for project in OWN.values():
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
        subprocess.run(
            [*command, str(folder), str(project.parent)], check=True, stdout=subprocess.DEVNULL
        )


def main() -> int:
    """Collect the wheels, and say how large they are."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m scripts.gpu_wheels"
    )
    parser.add_argument("--python", default="3.12", help="version of the machine's interpreter")
    python = parser.parse_args().python
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir()
    collect(WHEELS, python)
    build(WHEELS)
    wheels = list(WHEELS.glob("*.whl"))
    size_mb = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{WHEELS.name}/: {len(wheels)} wheels for Python {python}, {size_mb:.1f} MB")
    return int(size_mb > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
