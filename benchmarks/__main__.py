"""Measure engines and servers, and compare the results with the targets.

    python -m benchmarks [--short] [--only PART ...] [--output RESULT.json] [--work FOLDER]

Prints progress to standard error and tables to standard output, and writes all measurements to a
file. `--work` keeps checkpoints and compiled models, which take minutes to make.
"""

import argparse
import contextlib
import dataclasses
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import accuracy, tables
from .fleet import tables as fleet
from .instrument import end_on_sigterm
from .machine import machine
from .peers import tables as comparison
from .plan import FULL, SHORT
from .progress import progress
from .ray import tables as ray
from .suite import Suite

PARTS = (
    *("engines", "served", "windows", "interference", "memory", "start", "lone"),
    *("fleet", "ray", "accuracy", "peers"),
)
SHORT_PARTS = ("engines", "served", "windows", "interference", "start", "fleet")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks"
    )
    parser.add_argument(
        "--short", action="store_true", help="a quick run with fewer layers and rounds"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure")
    parser.add_argument("--rounds", type=int, help="number of rounds")
    parser.add_argument("--output", type=Path, default=Path("benchmark.json"))
    parser.add_argument("--work", type=Path, help="folder for checkpoints and compiled models")
    parser.add_argument("--reviews", type=Path, help="folder of the training data, for accuracy")
    arguments = parser.parse_args()
    end_on_sigterm()
    plan = SHORT if arguments.short else FULL
    plan = dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)
    parts = arguments.only or (SHORT_PARTS if arguments.short else PARTS)
    started_s = time.monotonic()
    say = progress()
    result: dict[str, Any] = {
        "plan": plan.name,
        "rounds": plan.rounds,
        "taken_at": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
    with contextlib.ExitStack() as ends:
        work = arguments.work or Path(ends.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        suite = Suite(plan, work.absolute(), say)
        for part in parts:
            if part == "accuracy" and not arguments.reviews:
                suite.missing.append("accuracy: --reviews names no folder of the training data")
                continue
            with suite.or_missing(part):
                if part == "accuracy":
                    result[part] = accuracy.measure(arguments.reviews, say)
                else:
                    result[part] = getattr(suite, part)()
    result["missing"] = suite.missing
    result["minutes"] = (time.monotonic() - started_s) / 60
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    say(f"{arguments.output}: all measurements")
    print(tables.page(result))
    if "fleet" in result:
        print(f"## Replicas behind Envoy\n\n{fleet.page(result)}\n")
    if "ray" in result:
        print(f"## Ray Data\n\n{ray.page(result)}\n")
    if "peers" in result:
        print(f"## Compared with other engines\n\n{comparison.page(result)}")


if __name__ == "__main__":
    main()
