"""Trials: load, faults and malformed requests, and what must hold under them.

    python -m tests.chaos [TRIAL ...] [--short] [--output reliability.json] [--work FOLDER]

Every trial ends by itself. Progress goes to standard error and tables go to standard output. The
output file gets the findings, and keeps those of other trials. Exits with 1 when a finding
misses its target.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.instrument import end_on_sigterm
from benchmarks.machine import machine
from benchmarks.progress import progress

from .publication import table
from .trial import Plan
from .trials import TRIALS


def main() -> None:
    """Run the named trials, or all."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.chaos"
    )
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=", ".join(TRIALS))
    parser.add_argument(
        "--short", action="store_true", help="smaller models, fewer and shorter runs"
    )
    parser.add_argument("--output", type=Path, default=Path("reliability.json"))
    parser.add_argument("--work", type=Path, help="folder for checkpoints")
    arguments = parser.parse_args()
    end_on_sigterm()
    if unknown := set(arguments.trials) - set(TRIALS):
        parser.error(f"unknown trial: {', '.join(sorted(unknown))}")
    say = progress()
    all_met = True
    with ExitStack() as ends:
        work = arguments.work or Path(ends.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        plan = Plan(arguments.short, work, sorted(os.sched_getaffinity(0)), say)
        for name in arguments.trials or TRIALS:
            say(name)
            began_s = time.monotonic()
            report = TRIALS[name].run(plan)
            record = {
                **asdict(report),
                "about": TRIALS[name].about,
                "plan": "short" if plan.is_short else "full",
                "taken_at": datetime.now(UTC).date().isoformat(),
                "seconds": round(time.monotonic() - began_s),
                "machine": machine(),
            }
            _keep(arguments.output, name, record)
            print(f"{TRIALS[name].about}\n\n{table(record)}\n", flush=True)
            all_met = all_met and all(finding.is_met for finding in report.findings)
    sys.exit(not all_met)


def _keep(output: Path, name: str, record: dict[str, Any]) -> None:
    known = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    output.write_text(json.dumps({**known, name: record}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
