"""A job of Ray Data whose actors are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.checkpoints import texts
from benchmarks.instrument import descendants
from scripts.pages import ROOT
from tests.chaos.known import TOLERANCE
from tests.chaos.trial import Plan, Report
from tests.checkpoints import make_checkpoint
from tests.contract.engines import eventually
from tests.parity.direct import Direct
from tests.ray.clusters import named

ROWS, SHORT_ROWS = 200_000, 8_000
ROW_GROUPS = 40
TEXTS = 100
"""Different texts; the rows repeat them."""
TOKENS = range(10, 51)
WORDS = ("book", "was", "good", "hotel", "room", "clean", "breakfast", "cold", "staff", "rude")
"""Words that are single tokens for the checkpoint."""
KILLS = 2
PATIENCE_S = 600.0
ACTOR = "ray::MapWorker(MapBatches(ScoreRowGroups))"


def run(plan: Plan) -> Report:
    """Kill two actors in turn, each after some row groups."""
    rows = SHORT_ROWS if plan.is_short else ROWS
    folder = plan.work / "ray-bulk"
    source, output = folder / "in", folder / "out"
    source.mkdir(parents=True)
    checkpoint = make_checkpoint("bert", folder / "checkpoint")
    asked = texts([TOKENS[number % len(TOKENS)] for number in range(TEXTS)], WORDS)
    direct = Direct.load(checkpoint)
    expected = np.array([direct.scores(text) for text in asked], np.float32)  # (texts, labels)
    table = pa.table({"id": range(rows), "text": [asked[row % TEXTS] for row in range(rows)]})
    pq.write_table(table, source / "rows.parquet", row_group_size=rows // ROW_GROUPS)
    plan.say(f"{rows:,} rows")
    report = Report()
    began_s = time.monotonic()
    with _job(source, output, checkpoint) as job:
        killed = _kill_actors(plan, job, output)
        code = _wait(plan, job, output)
    took_s = time.monotonic() - began_s
    report.add("actors killed", str(KILLS), killed, killed == KILLS)
    report.add("exit code of the job", "0", code, code == 0)
    if code == 0:
        _check(report, pa.concat_tables(map(pq.read_table, _files(output))), rows, expected)
    report.series = {"rows": rows, "seconds": round(took_s)}
    plan.say(f"{rows:,} rows in {took_s:.0f} s")
    return report


def _kill_actors(plan: Plan, job: "subprocess.Popen[bytes]", output: Path) -> int:
    """Kill an actor whenever some more row groups are done; return how many were killed."""
    killed = 0
    for number in range(KILLS):
        enough = len(_files(output)) + 2
        assert eventually(
            lambda: len(_files(output)) >= enough or job.poll() is not None,  # noqa: B023
            PATIENCE_S,
        ), "the job makes no progress"
        actors = named(descendants(job.pid), ACTOR)
        if not actors:
            break
        with suppress(ProcessLookupError):
            os.kill(actors[number % len(actors)], signal.SIGKILL)
            killed += 1
            plan.say(f"actor killed, {len(_files(output))} of {ROW_GROUPS} row groups done")
    return killed


def _wait(plan: Plan, job: "subprocess.Popen[bytes]", output: Path) -> int | None:
    """Wait for the end of the job, as long as it makes progress; return its exit code."""
    done = -1
    while job.poll() is None and done < len(_files(output)):
        done = len(_files(output))
        plan.say(f"{done} of {ROW_GROUPS} row groups done")
        with suppress(subprocess.TimeoutExpired):
            job.wait(PATIENCE_S / 4)
    return job.poll()


def _check(report: Report, scored: pa.Table, rows: int, expected: np.ndarray) -> None:
    ids = scored.column("id").to_numpy()
    once = len(np.unique(ids)) == len(ids) == rows
    report.add("rows in the output, each once", f"{rows:,}", f"{len(ids):,}", once)
    errors = len(ids) - scored.column("error").null_count
    report.add("rows with an error", "0", errors, not errors)
    found = np.array(scored.column("scores").to_pylist(), np.float32)  # (rows, labels)
    difference = float(np.abs(found - expected[ids % TEXTS]).max())
    report.add(
        "largest difference of a score from direct use",
        f"at most {TOLERANCE:g}",
        f"{difference:.1e}",
        difference <= TOLERANCE,
    )


def _files(output: Path) -> list[Path]:
    return sorted(output.glob("*.parquet"))


@contextmanager
def _job(source: Path, output: Path, model: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the example until the block ends."""
    program = ROOT / "examples" / "ray" / "score_folder.py"
    with subprocess.Popen(
        [sys.executable, program, source, output, "--model", model, "--actors", "2"],
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
