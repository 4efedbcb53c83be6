"""Run the test vectors in every language that this machine can run.

    python -m conformance [--only go,ruby] [--no-install]
    python -m conformance --publish

Prints progress and failures to standard error, the table and the sum to standard output. The folder
.conformance contains built programs, a log for each language, and results.json, from which
--publish writes docs/project/conformance.md. The exit code is 1 if anything fails, or if Python or
Node cannot run.
"""

import argparse
import fcntl
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.progress import progress

from . import report
from .languages import ALWAYS, NAMES, VECTORS, WORK
from .publication import publish
from .servers import running, secure
from .trial import ROWS_BESIDE_GROUPS, Trial

RESULTS = WORK / "results.json"


def main() -> int:
    """Run the kit and return the exit status."""
    arguments = _arguments()
    if arguments.publish:
        publish(RESULTS)
        return 0
    WORK.mkdir(exist_ok=True)
    with held(WORK):
        return _run(arguments)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other run replaces the programs of this one.

    Exits if another run holds the lock.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another run uses {folder.name}")
        yield


def _run(arguments: argparse.Namespace) -> int:
    logging.getLogger("classwire_server").addHandler(logging.FileHandler(WORK / "servers.log", "w"))
    say = progress()
    document = json.loads(VECTORS.read_text("utf-8"))
    rows = [*(group["name"] for group in document["groups"]), *ROWS_BESIDE_GROUPS]
    with running() as targets, secure(WORK) as tls:
        trial = Trial(document, targets, tls, WORK, say, install=not arguments.no_install)
        columns = [trial.column(name) for name in arguments.only]
    about = {"taken_at": datetime.now(UTC).date().isoformat(), "machine": machine(), "rows": rows}
    report.write(columns, about, RESULTS)

    print(report.text_table(report.table(columns, rows)))
    left_out = [column for column in columns if column.not_run]
    for column in left_out:
        print(f"{column.language}: {report.NOT_RUN}: {column.not_run}")
    passed, failed = report.total(columns)
    print(f"{passed} passed, {failed} failed")
    is_wrong = failed or any(column.defects for column in columns)
    return int(bool(is_wrong) or any(column.language in ALWAYS for column in left_out))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m conformance"
    )
    parser.add_argument(
        "--only", type=_names, default=list(NAMES), metavar="LANGUAGE,…", help=", ".join(NAMES)
    )
    parser.add_argument("--no-install", action="store_true", help="do not install missing packages")
    parser.add_argument(
        "--publish", action="store_true", help="write the last run's table into the docs"
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
