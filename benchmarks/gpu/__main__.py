"""Measure engine and servers on a GPU.

    python -m benchmarks.gpu [--device cpu] [--output FOLDER] [--budget-s SECONDS] [--only PART ...]

Writes report.json and report.md into the folder after every figure, so a run that is cut short
leaves all figures so far. On the CPU it runs in small sizes, to try it.
"""

import argparse
import importlib.metadata
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.instrument import end_on_sigterm
from benchmarks.machine import machine
from benchmarks.progress import progress

from . import report
from .parts import PARTS, Finding, run
from .plan import FULL, TRIAL

BUDGET_S = 240.0
"""For all parts. With more, each part may take longer."""
LEAST_S = 5.0
"""Remaining time with which a part still starts."""


def main() -> None:
    """Run the parts in turn."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.gpu"
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--output", type=Path, default=Path("gpu-report"))
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="seconds for all parts")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    end_on_sigterm()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device; --device cpu tries the script in small sizes")
    until_s = time.monotonic() + arguments.budget_s
    say = progress()
    plan = FULL if arguments.device == "cuda" else TRIAL
    result: report.Result = {
        "plan": plan.name,
        "taken_at": datetime.now(UTC).date().isoformat(),
        "device_name": "CPU" if arguments.device == "cpu" else torch.cuda.get_device_name(0),
        "machine": machine(),
        "transformers": importlib.metadata.version("transformers"),
        "findings": [],
        "incomplete": {},
    }
    arguments.output.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        content = json.dumps(result, indent=1) + "\n"
        (arguments.output / "report.json").write_text(content, encoding="utf-8")
        (arguments.output / "report.md").write_text(report.page(result), encoding="utf-8")

    def found(finding: Finding) -> None:
        result["findings"].append(finding)
        write()

    write()
    for name in arguments.only:
        left_s = until_s - time.monotonic()
        part = PARTS[name]
        limit_s = min(left_s, part.limit_s * max(1.0, arguments.budget_s / BUDGET_S))
        if limit_s < LEAST_S:
            why = "no time was left"
        else:
            say(f"{name}: at most {limit_s:.0f} s")
            why = run(part.module, [plan.name, arguments.device], limit_s, found)
        if why:
            result["incomplete"][name] = why
            say(f"{name}: {why}")
        write()
    print(report.page(result))


if __name__ == "__main__":
    main()
