"""Set-up announces torch, and installs the lock's versions and only the tools that it needs."""

import importlib.metadata
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from scripts.locked import LOCK, needed, pins, problems
from scripts.pages import ROOT
from scripts.terminal import in_terminal
from scripts.torch_build import announcement, locked_release, preferred

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TOOLS = {"furo", "ipykernel", "matplotlib", "mypy", "onnxruntime", "pytest", "ruff", "sphinx", "uv"}
LISTED = "torch (2.14.0)\nAvailable versions: 2.14.0, 2.13.0+cpu, 2.13.0, 2.12.1\n"


def test_what_is_installed_is_what_the_lock_names() -> None:
    """The lock names every direct and indirect requirement in its installed version."""
    locked = pins(LOCK.read_text(encoding="utf-8").splitlines())
    found = needed(["classwire", "classwire-server[adapters,dev,tracing,train,bench]"])
    assert list(problems(locked, found)) == []
    assert {
        "grpcio",
        "pytest",
        "torch",
        "opentelemetry-sdk",
        "scikit-learn",
        "onnx",
        "peft",
    } <= found.keys()


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ({"torch": "2.13.0+cpu"}, []),
        ({"nvidia-cublas": "13.0", "classwire": "0.1.0"}, []),
        ({"click": "8.5.2"}, ["click 8.5.2: requirements.lock names 8.5.1"]),
        ({"click": None}, ["click (not installed): requirements.lock names 8.5.1"]),
        ({"left-pad": "1"}, ["left-pad 1: requirements.lock does not name it"]),
    ],
)
def test_differences_from_the_lock_are_named(
    installed: dict[str, str | None], problem: list[str]
) -> None:
    """Another version, a missing package and an unlocked one are named; torch's build is
    ignored.
    """
    assert list(problems({"click": "8.5.1", "torch": "2.13.0"}, installed)) == problem


def test_pins_are_those_of_this_python() -> None:
    """Of two pins of a package, the one whose marker matches this Python counts."""
    lines = ["# no pin", "numpy==1 ; python_version < '3'", "numpy==2 ; python_version >= '3'"]
    assert pins(lines) == {"numpy": "2"}


def test_serving_needs_no_tools() -> None:
    """Neither the server with tracing nor the client requires a development tool."""
    found = needed(["classwire", "classwire-server[tracing]"])
    assert found.keys() & TOOLS == set()
    dev = {Requirement(line).name for line in importlib.metadata.requires("classwire-server") or []}
    assert {"pytest", "ruff"} <= dev & TOOLS


def test_demo_and_serve_install_only_what_serving_needs() -> None:
    """`demo` and `serve` depend on the serving environment, all other targets on the full one."""
    needs = dict(re.findall(r"^([a-z-]+): (\S+).* ##", MAKEFILE, re.MULTILINE))
    assert {name for name, need in needs.items() if need == "$(SERVING)"} == {"demo", "serve"}
    assert needs["setup"] == "$(INSTALLED)"
    assert needs["test"] == needs["envoy"] == "setup"
    assert needs["bench"] == "envoy"
    _, _, recipe = MAKEFILE.partition("\n$(SERVING): ")
    recipe = recipe.partition("\n\n")[0]
    assert "'.[tracing]'" in recipe
    assert recipe.index("scripts.torch_build") < recipe.index("$(INSTALL)")


def test_the_build_that_pip_prefers() -> None:
    """The announced build is the one with a local version; without a list it is the release."""
    assert preferred(LISTED, "2.13.0") == "2.13.0+cpu"
    assert preferred(LISTED.replace("2.13.0+cpu, ", ""), "2.13.0") == "2.13.0"
    assert preferred("ERROR: no such command", "2.13.0") == "2.13.0"
    assert locked_release() == pins(LOCK.read_text(encoding="utf-8").splitlines())["torch"]


@pytest.mark.parametrize(
    ("version", "system", "has_driver", "parts"),
    [
        ("2.13.0", "Linux", False, ["2.13.0: the CUDA build, about 2.7 GB", "PIP_EXTRA_INDEX_URL"]),
        ("2.13.0", "Linux", True, ["2.13.0: the CUDA build, about 2.7 GB"]),
        ("2.13.0+cpu", "Linux", False, ["2.13.0+cpu: the CPU build, about 0.2 GB"]),
        ("2.13.0", "Darwin", False, ["2.13.0: the CPU build, about 0.1 GB"]),
    ],
)
def test_build_and_size_are_announced(
    version: str, system: str, has_driver: bool, parts: list[str]
) -> None:
    """Where CUDA is of no use, a second line names the command for the CPU build."""
    lines = list(announcement(version, system, has_nvidia_driver=has_driver))
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert part in line
    assert all('"CPU"' in line for line in lines[1:])


SAYS = "import time; print('first', flush=True); print('last', flush=True); time.sleep(0.5)"


def step(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program as a step, without a terminal."""
    command = [sys.executable, "-m", "scripts.step", "Working", sys.executable, "-c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_step_says_when_it_starts_and_ends() -> None:
    """In a log, a step is one line at its start and one at its end, without the output."""
    done = step("print('chatter')")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"Working \.\.\.\nWorking: done, \d+\.\d s\n", done.stdout)


def test_a_step_that_fails_shows_why() -> None:
    """A step that fails shows the output of its command, and exits with its code."""
    failed = step("import sys; print('chatter'); sys.exit('no space')")
    assert (failed.returncode, failed.stderr) == (1, "chatter\nno space\n")
    assert "Working: failed with exit code 1, " in failed.stdout


def test_a_step_moves_on_a_terminal() -> None:
    """On a terminal one line shows the time and the last line of the output, then the result."""
    shown = in_terminal(
        [sys.executable, "-m", "scripts.step", "Working", sys.executable, "-c", SAYS]
    )
    frames = shown.split("\r\x1b[2K")
    assert any(re.fullmatch(r"Working, \d+ s \.\.\. last", frame) for frame in frames)
    assert re.fullmatch(r"Working: done, \d+\.\d s\n", frames[-1])
    assert "first\n" not in shown


def test_installing_is_never_silent() -> None:
    """Every command of make that installs something runs as a step."""
    lines = [line for line in MAKEFILE.splitlines() if re.search(r"\$\(INSTALL\)|-m venv", line)]
    joined = MAKEFILE.replace("\\\n", "")
    step = r"(?:\$\(STEP\)|-m scripts\.step) \"[^\"]+\"\s+\S*(?:INSTALL|PYTHON)"
    assert len(re.findall(step, joined)) == len(lines) >= 4
    assert "--quiet" not in MAKEFILE.partition(".DEFAULT_GOAL")[0]
