"""Serve a tiny checkpoint of every model type, and compare with direct use of transformers.

    python -m tests.compat [--only TYPE ...] [--precisions] [--output compat.json] [--work FOLDER]

Checkpoints are loaded into one running server. Every type is compared by unary, batch and stream
calls. Progress goes to standard error, faults and counts to standard output. Exits with 1 for
a wrong score, and for any other type that is not right, unless refusals.toml lists it.
"""

import argparse
import functools
import json
import logging
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.progress import Say, progress
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import launch
from classwire_server.server import Server
from tests.workers import fork

from .catalogue import TYPES
from .checkpoints import WORK, folder_of, made
from .findings import Promise, cannot_run, counts, faults, finding
from .wire import observe

REFUSALS = Path(__file__).with_name("refusals.toml")
PROMISES: Mapping[str, Promise] = {
    "float32": Promise(),
    "auto": Promise(score=0.03),
    "int8": Promise(score=1.0, labels=0.0),
}
"""What the server promises in each precision. int8 promises no bound."""


def main() -> int:
    """Run the sweep and return the exit status."""
    arguments = _arguments()
    say = progress()
    listed = tomllib.loads(REFUSALS.read_text(encoding="utf-8"))
    folder = folder_of(arguments.work)
    results: dict[str, Any] = {
        "taken_at": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("transformers", "torch", "tokenizers")},
        "listed": listed,
    }
    arguments.work.mkdir(parents=True, exist_ok=True)
    log = logging.FileHandler(arguments.work / "server.log", "w")
    logging.getLogger("classwire_server").addHandler(log)
    began_s = time.monotonic()
    results["float32"] = sweep(folder, arguments.only, "float32", say)
    if arguments.precisions:
        packed = [each["type"] for each in results["float32"] if each["layout"] == "packed"]
        for precision, types in (("auto", arguments.only), ("int8", packed)):
            results[precision] = sweep(folder, types, precision, say)
    results["seconds"] = round(time.monotonic() - began_s)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    found = [line for precision in PROMISES for line in faults(results.get(precision, []), listed)]
    print("\n".join(found))
    for precision in PROMISES:
        if precision in results:
            summary = ", ".join(f"{n} {name}" for name, n in counts(results[precision]).items())
            print(f"{precision}: {len(results[precision])} types: {summary}")
    return int(bool(found))


def sweep(folder: Path, types: Sequence[str], precision: str, say: Say) -> list[dict[str, Any]]:
    """Serve each type in a precision, and return what is found for it."""
    findings: list[dict[str, Any]] = []
    config = ServerConfig(
        port=0, admin_port=0, precision=precision, cache_mb=0, batch_tokens=512, offline=True
    )
    with Server(config, functools.partial(launch, spawn=fork)) as server:
        for number, (model_type, truth) in enumerate(made(folder, types), 1):
            began_s = time.monotonic()
            observed: dict[str, Any] = {}
            if not cannot_run(truth):
                observed = observe(
                    server.target, server.admin_target, model_type, str(folder / model_type),
                    truth["texts"],
                )  # fmt: skip
            found = finding(model_type, truth, observed, PROMISES[precision])
            found["seconds"] = round(time.monotonic() - began_s, 1)
            findings.append(found)
            deviation = "" if found["deviation"] is None else f" {found['deviation']:.1e}"
            line = f"{found['verdict']}{deviation} {found['layout']} {found['reason']}"
            say(f"{precision} {number}/{len(types)} {model_type}: {line}")
    return findings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.compat"
    )
    parser.add_argument(
        "--only", nargs="+", choices=TYPES, default=TYPES, metavar="TYPE", help="types to serve"
    )
    parser.add_argument(
        "--precisions", action="store_true", help="also auto, and int8 for packed types"
    )
    parser.add_argument("--output", type=Path, default=Path("compat.json"))
    parser.add_argument("--work", type=Path, default=WORK, help="folder for checkpoints")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
