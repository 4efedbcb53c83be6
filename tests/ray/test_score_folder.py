"""The job of examples/ray, killed and run again."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: `make test-ray` installs it")

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.ray.environment import VARIABLES
from classwire_server.config.server_config import EMBEDDED_FOLDER
from tests.contract.engines import eventually
from tests.parity.direct import Direct
from tests.ray.clusters import kill_tree

PROGRAM = Path(__file__).parents[2] / "examples" / "ray" / "score_folder.py"
PATIENCE_S = 240.0
TEXTS = ("I really love this book", "terrible", "It's fine", "")
ROWS, ROW_GROUP = 4_000, 500


@pytest.mark.timeout(3 * PATIENCE_S)
def test_a_killed_job_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A job that is killed with all its actors, and run again, leaves finished row groups alone and
    scores every row once, as direct use does. It refuses the output of another job.
    """
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    texts = [TEXTS[number % len(TEXTS)] for number in range(ROWS)]
    table = pa.table({"id": range(ROWS), "review": texts})
    pq.write_table(table, source / "a.parquet", row_group_size=ROW_GROUP)
    with _job(source, output) as first:
        assert eventually(
            lambda: any(output.glob("*.parquet")) or first.poll() is not None, PATIENCE_S
        )
        kill_tree(first.pid)
        said, _ = first.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    assert 0 < len(before) < ROWS // ROW_GROUP, said
    with _job(source, output) as second:
        said, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, said
    lines = [line for line in said.splitlines() if " rows" in line]
    assert lines[0] == f"{len(before) * ROW_GROUP:,} of {ROWS:,} rows are scored"
    assert lines[-1].startswith(f"{ROWS:,} of {ROWS:,} rows, ")
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before
    assert not list(output.glob("*.part"))
    _check(pa.concat_tables(map(pq.read_table, sorted(output.glob("*.parquet")))))
    with _job(source, output, "--model", "another") as other:
        said, _ = other.communicate(timeout=PATIENCE_S)
    assert other.returncode == 1
    assert "another job" in said


@pytest.mark.parametrize(("given", "expected"), [(None, "0"), ("1", "1")])
def test_ray_reports_no_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    """The job turns off Ray's usage statistics, unless its environment turns them on."""
    monkeypatch.setattr(sys, "argv", [PROGRAM.name, str(tmp_path / "in"), str(tmp_path / "out")])
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    if given is not None:
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", given)
    runpy.run_path(str(PROGRAM), run_name="__main__")  # there is no row to score
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == expected


def _job(source: Path, output: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, PROGRAM, source, output),
            *("--column", "review", "--actors", "1", *options),
        ],
        env={**os.environ, **VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _check(scored: pa.Table) -> None:
    """Each row is there once, with its own scores, or the error of an empty text."""
    direct = Direct.load(EMBEDDED_FOLDER)
    expected = {text: direct.scores(text) for text in TEXTS if text}
    rows = scored.sort_by("id").to_pylist()
    assert [row["id"] for row in rows] == list(range(ROWS))
    for row in rows:
        text = TEXTS[row["id"] % len(TEXTS)]
        assert row["error"] == (None if text else "EMPTY_TEXT")
        if text:
            assert row["scores"] == pytest.approx(expected[text], abs=1e-5)
