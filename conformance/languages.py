"""The languages of the kit: what each needs, how it is built, how it is run."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".conformance"
VECTORS = Path(__file__).with_name("vectors.json")

NAMES = ("python", "node", "go", "java", "cpp", "ruby")
ALWAYS = ("python", "node")
"""Those that must run, wherever the kit is run."""

INSTALL_S, BUILD_S, RUN_S = 1_200, 1_200, 300
Say = Callable[[str], None]


class CannotRun(Exception):
    """A language can't be run on this machine; `is_defect` says that all it needs is there."""

    def __init__(self, why: str, *, is_defect: bool = False) -> None:
        super().__init__(why)
        self.is_defect = is_defect


@dataclass(frozen=True)
class Language:
    """One language: its runner, and its examples for people."""

    name: str

    @property
    def runner(self) -> Path:
        """The folder of its runner."""
        return ROOT / "conformance" / self.name

    @property
    def examples(self) -> Path:
        """The folder of its examples."""
        return ROOT / "examples" / self.name

    def prepare(self, say: Say, *, install: bool) -> None:
        """Have the Debian packages that it needs. Raises CannotRun."""
        for folder in (self.runner, self.examples):
            missing = missing_packages(folder)
            if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
                say(f"installing {', '.join(missing)}")
                _install(missing)
                missing = missing_packages(folder)
            if missing:
                raise CannotRun(f"packages are missing: {', '.join(missing)}")

    def build(self, folder: Path, into: Path, log: Path) -> None:
        """Build its runner or its examples, whose folder is given. Raises CannotRun."""
        if not (folder / "build").exists():
            raise CannotRun(f"there is no {folder.relative_to(ROOT)}/build", is_defect=True)
        into.mkdir(parents=True, exist_ok=True)
        done = call([str(folder / "build"), str(into)], BUILD_S, log)
        if done.returncode:
            raise CannotRun(f"its build failed, see {log.name}", is_defect=True)


def call(
    command: Sequence[str], timeout_s: float, log: Path, input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program of a language; one that takes too long fails. What it says goes to `log`."""
    try:
        done = subprocess.run(
            command, env=environment(), input=input, capture_output=True, encoding="utf-8",
            errors="backslashreplace", timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(command, 124, "", f"not done after {timeout_s} s\n")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}= {done.returncode}\n")
    return done


def environment() -> Mapping[str, str]:
    """What builds and runners find in their environment: protos, and this interpreter."""
    return {
        **os.environ,
        "CLASSWIRE_PROTOS": str(ROOT / "protos"),
        "HEALTH_PROTOS": str(ROOT / "conformance" / "protos"),
        "GOOGLE_PROTOS": str(_google_protos()),
        "PYTHON": sys.executable,
    }


def _google_protos() -> Path:
    """The folder that holds google/rpc/*.proto."""
    spec = importlib.util.find_spec("google.rpc")
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / "status.proto").exists():
            return Path(place).parents[1]
    raise CannotRun("googleapis-common-protos is not installed")


def missing_packages(folder: Path) -> list[str]:
    """The Debian packages that a folder names in `packages`, and that are not installed.

    A command behind a package does in its place, wherever it is from. On a machine without dpkg
    nothing is missing: what can't be built says so itself.
    """
    file = folder / "packages"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    if not shutil.which("dpkg-query"):
        return []
    needed = [line.split() for line in lines]
    return [name for name, *commands in needed if not (installed_version(name) or _any(commands))]


def installed_version(package: str) -> str:
    """The version of a Debian package that is installed, else nothing."""
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
            check=False,  # what it could not install is named as missing
        )
