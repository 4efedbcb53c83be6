"""Runs of notebooks, and a comparison of their outputs with the stored ones."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts.pages import ROOT

FOLDER = ROOT / "examples" / "notebook"
RUN_S = 300
"""Time for a run of `scripts.notebook`, which itself ends a notebook before."""
NUMBER = re.compile(r"-?\d+\.\d+|\d+")


def rerun(notebook: Path, output: Path) -> "subprocess.CompletedProcess[str]":
    """Run a notebook, and return the ended process."""
    command = [sys.executable, "-m", "scripts.notebook", str(notebook), str(output)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S)


def outputs(notebook: Path) -> dict[str, str]:
    """Return what each cell with an output shows, by the cell's id: printed lines or a table."""
    read = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    return {
        cell.id: "".join(
            output.get("text") or output["data"]["text/html"] for output in cell.outputs
        )
        for cell in read.cells
        if cell.get("outputs")
    }


def assert_alike(left: str, right: str, within: float = 2e-4) -> None:
    """Assert equality, except for the last digits of numbers, which depend on the processor."""
    assert NUMBER.sub("N", left) == NUMBER.sub("N", right)
    numbers = [float(number) for number in NUMBER.findall(left)]
    assert numbers == pytest.approx([float(number) for number in NUMBER.findall(right)], abs=within)
