"""The trials on Ray clusters, which run in the environment of `make ray`."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks.ray.environment import NOT_INSTALLED, PYTHON, VARIABLES
from scripts.pages import ROOT
from tests.chaos.trial import Finding, Plan, Report, Trial


def _run(name: str) -> Callable[[Plan], Report]:
    """Return the function of a trial. It runs the trial here if Ray is here, else in .ray."""

    def run(plan: Plan) -> Report:
        if find_spec("ray") is None:
            return _elsewhere(name, plan)
        os.environ |= VARIABLES
        report: Report = import_module(f"{__package__}.{name.partition('-')[2]}").run(plan)
        return report

    return run


def _elsewhere(name: str, plan: Plan) -> Report:
    """Run a trial in .ray, and return its report.

    Raises RuntimeError if Ray is not installed, or the trial does not end.
    """
    if not PYTHON.exists():
        raise RuntimeError(NOT_INSTALLED)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "findings.json")
        command = [str(PYTHON), "-m", "tests.chaos", name, "--output", str(output)]
        command += ["--work", str(plan.work / name), *(["--short"] if plan.is_short else [])]
        with subprocess.Popen(command, stdout=sys.stderr, cwd=ROOT) as process:
            try:
                process.wait()
            finally:
                process.terminate()
        if not output.exists():
            raise RuntimeError(f"{name} did not end")
        record = json.loads(output.read_text(encoding="utf-8"))[name]
    return Report([Finding(**finding) for finding in record["findings"]], record["series"])


RAY_NODE = Trial(
    "ray-node",
    "Two servers that Ray Serve places on a cluster of three nodes within this machine, behind "
    "Envoy, under unary calls, batches and a stream of the library. All processes of a node with a "
    "server are killed at once.",
    _run("ray-node"),
)
RAY_SCALE = Trial(
    "ray-scale",
    "Servers that Ray Serve places on a cluster of three nodes within this machine, behind Envoy, "
    "under unary calls and a stream of the library. Further callers let texts queue until Ray "
    "Serve has added two servers, and end. The first ones go on until it has removed both.",
    _run("ray-scale"),
)
RAY_BULK = Trial(
    "ray-bulk",
    "`examples/ray/score_folder.py` with two actors and a tiny checkpoint. An actor is killed, "
    "and later another one.",
    _run("ray-bulk"),
)
