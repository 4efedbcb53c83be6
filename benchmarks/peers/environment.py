"""The environment of the other engines, `.peers/`, apart from the environment of the lock.

Their packages need versions that the lock does not have, so they run in processes of their own.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.instrument import MeasurementError
from benchmarks.progress import Say

ROOT = Path(__file__).parents[2]
PINS = ROOT / "benchmarks" / "peers.txt"
FOLDER = ROOT / ".peers"
TIMEOUT_S = 900.0
"""Time for each of the two steps of the set-up."""


def pins(text: str) -> dict[str, str]:
    """Return the version of each package that a requirements file pins.

    Raises ValueError for a requirement without an exact version, and for a package named twice.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        requirement = line.partition("#")[0].strip()
        if not requirement:
            continue
        name, equal, version = requirement.partition("==")
        if not equal or not version or set(version) & set("*<>=!~;, ") or name in found:
            raise ValueError(f"not one exact version of a package: {line}")
        found[name] = version
    return found


def set_up(say: Say) -> Path:
    """Return the interpreter of an environment with exactly the packages of PINS.

    Installs it if it is not there, or PINS or this Python has changed since. That takes minutes.
    Raises MeasurementError, with the command's output on standard error, if it cannot be installed.
    """
    python = FOLDER / "bin" / "python"
    marker = FOLDER / "installed.txt"
    wanted = f"# Python {sys.version}\n{PINS.read_text(encoding='utf-8')}"
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return python
    say("peers: setting up .peers with the versions of benchmarks/peers.txt")
    _step("Creating .peers", sys.executable, "-m", "venv", "--clear", str(FOLDER))
    _step(
        "Installing the other engines",
        *(str(python), "-m", "pip", "--disable-pip-version-check", "install"),
        *("--progress-bar", "off", "--no-deps", "--only-binary", ":all:"),
        *("--requirement", str(PINS)),
    )
    marker.write_text(wanted, encoding="utf-8")
    return python


def _step(what: str, *command: str) -> None:
    step = (sys.executable, "-m", "scripts.step", what, *command)
    with subprocess.Popen(step, stdout=sys.stderr, cwd=ROOT, start_new_session=True) as process:
        try:
            code = process.wait(TIMEOUT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise MeasurementError(f"{what}: not done after {TIMEOUT_S:g} s") from None
            raise
    if code:
        raise MeasurementError(f"{what}: exit code {code}")
