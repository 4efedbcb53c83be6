"""Test and measure on a machine with a CUDA device and without a network.

    python -m scripts.gpu [--output FOLDER] [--device cpu]

Installs the wheels of `wheels/` into `.gpu/`, next to the interpreter's own torch and transformers.
Then it runs the tests marked gpu, and `python -m benchmarks.gpu`. Each step ends within its limit,
all of them within 7 minutes. The folder gets tests.txt, tests.xml, report.json and report.md.
Needs Python alone. Exits with 1 if a step failed.
"""

import argparse
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEELS, SITE = ROOT / "wheels", ROOT / ".gpu"
LIMIT_S = 415.0
INSTALL_S, TESTS_S = 40.0, 180.0
"""Limits of all steps, of the installation and of the tests. The benchmark gets the rest."""
SOURCES = {"classwire": ROOT / "client", "classwire_server": ROOT / "server"}


def install() -> list[str]:
    """The command that installs the wheels, after the folder of an earlier run is gone."""
    shutil.rmtree(SITE, ignore_errors=True)
    return [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
        "--no-index", "--no-deps", "--no-compile", "--target", str(SITE),
        *map(str, sorted(WHEELS.glob("*.whl"))),
    ]  # fmt: skip


def stale() -> Iterator[str]:
    """Yield the modules whose installed source is not the checkout's."""
    for package, folder in SOURCES.items():
        for source in sorted((folder / package).rglob("*.py")):
            name = source.relative_to(folder)
            installed = SITE / name
            if not installed.is_file() or not filecmp.cmp(source, installed, shallow=False):
                yield str(name)


def tests(output: Path) -> list[str]:
    """The command that runs the tests, without the machine's own plugins of pytest.

    Warnings of the machine's libraries are no errors.
    """
    return [
        sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-p", "no:cacheprovider",
        "-m", "gpu", "tests/gpu", "-W", "default", "-rsx", "-v", "--durations", "10",
        "--junitxml", str(output / "tests.xml"),
    ]  # fmt: skip


def run(command: list[str], limit_s: float, log: Path | None = None) -> str:
    """Run a command, with its output in a log too. Returns why it failed, or ""."""
    paths = os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": paths,
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("wb") if log else nullcontext() as written:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=written,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,  # so that its children end with it
        )
    try:
        code = process.wait(max(0.0, limit_s))
    except subprocess.TimeoutExpired:
        return f"stopped after {limit_s:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if log:
            print(log.read_text(encoding="utf-8", errors="replace"), flush=True)
    return f"ended with exit code {code}" if code else ""


def main() -> int:
    """Run all steps, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m scripts.gpu"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "gpu-report")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    output: Path = arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    until_s = time.monotonic() + LIMIT_S
    failed: dict[str, str] = {}
    if not list(WHEELS.glob("*.whl")):
        print(f"{WHEELS.name}/ has no wheels: run make gpu-wheels first, with a network")
        return 1
    if why := run(install(), INSTALL_S):
        print(f"installing the wheels: {why}")
        return 1
    if modules := list(stale()):
        print(f"{WHEELS.name}/ is older than the checkout: {modules[0]}; run make gpu-wheels")
        return 1
    failed["tests"] = run(tests(output), TESTS_S, output / "tests.txt")
    left_s = until_s - time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(output)]
    command += ["--device", arguments.device, "--budget-s", f"{left_s - 5:.0f}"]
    failed["benchmark"] = run(command, left_s)
    for step, why in failed.items():
        print(f"{step}: {why or 'done'}")
    return int(any(failed.values()))


if __name__ == "__main__":
    sys.exit(main())
