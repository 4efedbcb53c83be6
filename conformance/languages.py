"""The languages of the kit: their packages, builds and programs."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.progress import Say

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".conformance"
VECTORS = Path(__file__).with_name("vectors.json")

NAMES = ("python", "node", "go", "java", "cpp", "ruby")
ALWAYS = ("python", "node")
"""Languages that must run on every machine."""

INSTALL_S, BUILD_S, RUN_S = 1_200, 1_200, 300


class CannotRun(Exception):
    """A language can't run on this machine; `is_defect` if its packages are installed."""

    def __init__(self, why: str, *, is_defect: bool = False) -> None:
        super().__init__(why)
        self.is_defect = is_defect


@dataclass(frozen=True)
class Language:
    """One language: its runner and its examples."""

    name: str

    @property
    def runner(self) -> Path:
        """The runner's folder."""
        return ROOT / "conformance" / self.name

    @property
    def examples(self) -> Path:
        """The examples' folder."""
        return ROOT / "examples" / self.name

    def prepare(self, say: Say, *, install: bool) -> None:
        """Install the Debian packages that the language needs. Raises CannotRun."""
        for folder in (self.runner, self.examples):
            missing = missing_packages(folder)
            if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
                say(f"installing {', '.join(missing)}")
                _install(missing)
                missing = missing_packages(folder)
            if missing:
                raise CannotRun(f"packages are missing: {', '.join(missing)}")

    def build(self, folder: Path, into: Path, log: Path) -> None:
        """Build the runner or the examples in `folder`. Raises CannotRun."""
        if not (folder / "build").exists():
            raise CannotRun(f"{folder.relative_to(ROOT)}/build is missing", is_defect=True)
        into.mkdir(parents=True, exist_ok=True)
        done = call([str(folder / "build"), str(into)], BUILD_S, log)
        if done.returncode:
            raise CannotRun(f"the build failed, see {log.name}", is_defect=True)


def call(
    command: Sequence[str], timeout_s: float, log: Path, input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program; it fails after `timeout_s`. Appends its output to `log`."""
    try:
        done = subprocess.run(
            command, env=environment(), input=input, capture_output=True, encoding="utf-8",
            errors="backslashreplace", timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(command, 124, "", f"timed out after {timeout_s} s\n")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}= {done.returncode}\n")
    return done


def environment() -> Mapping[str, str]:
    """Return the environment of builds and runners: folders of protos, and this interpreter."""
    return {
        **os.environ,
        "CLASSWIRE_PROTOS": str(ROOT / "protos"),
        "HEALTH_PROTOS": str(ROOT / "conformance" / "protos"),
        "GOOGLE_PROTOS": str(_google_protos()),
        "PYTHON": sys.executable,
    }


def _google_protos() -> Path:
    """Return the folder of google/rpc/*.proto."""
    spec = importlib.util.find_spec("google.rpc")
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / "status.proto").exists():
            return Path(place).parents[1]
    raise CannotRun("googleapis-common-protos is not installed")


def missing_packages(folder: Path) -> list[str]:
    """Return the Debian packages in a folder's `packages` that are not installed.

    A command after a package's name is a substitute for the package. Without dpkg the result is
    empty: a build that lacks something fails with its own message.
    """
    file = folder / "packages"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    if not shutil.which("dpkg-query"):
        return []
    needed = [line.split() for line in lines]
    return [name for name, *commands in needed if not (installed_version(name) or _any(commands))]


def installed_version(package: str) -> str:
    """Return the version of an installed Debian package, else ""."""
    if not shutil.which("dpkg-query"):
        return ""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    status, _, version = done.stdout.partition(" ")
    return version if status == "installed" else ""


def _any(commands: Sequence[str]) -> bool:
    return any(shutil.which(command) for command in commands)


def _install(packages: Sequence[str]) -> None:
    options = ["-o", "DPkg::Lock::Timeout=300", "-y", "-qq", "--no-install-recommends"]
    for command in (["update", "-qq"], ["install", *options, *packages]):
        subprocess.run(
            ["apt-get", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=INSTALL_S,
            check=False,  # packages that fail to install are reported as missing
        )
