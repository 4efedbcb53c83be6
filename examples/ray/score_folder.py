"""Score the texts of a folder of Parquet files into another folder, on all nodes of a Ray cluster.

    score_folder.py INPUT OUTPUT [--model MODEL] [--column COLUMN] [--actors N] [--address auto]

All nodes must see both folders at the same path. Each row group of the input becomes a file of the
output. Killed and run again, the program goes on with the row groups that have no file yet.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from classwire_server.ray import Classify

ROWS_AT_ONCE = 1_024
"""Rows of a row group that an actor holds in memory."""


class RowGroup(NamedTuple):
    """A part of the work: a row group, and the file for its scores."""

    path: str
    number: int
    rows: int
    target: str


class ScoreRowGroups(Classify):
    """Scores row groups: names of row groups in, numbers of rows out."""

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Write a file for each row group, and return how many rows it has, and how many errors."""
        done = [self._score(RowGroup(**part)) for part in parts.to_pylist()]
        return pa.Table.from_pylist(done)

    def _score(self, part: RowGroup) -> dict[str, int]:
        # Written aside and moved: a killed actor leaves no incomplete file in the output.
        aside = f"{part.target}.{uuid4().hex}.part"
        rows = errors = 0
        with pq.ParquetFile(part.path) as file:
            batches = file.iter_batches(ROWS_AT_ONCE, row_groups=[part.number])
            tables = (super(ScoreRowGroups, self).__call__(pa.Table.from_batches([batch]))
                      for batch in batches)  # fmt: skip
            first = next(tables)
            with pq.ParquetWriter(aside, first.schema) as writer:
                for table in (first, *tables):
                    writer.write_table(table)
                    rows += table.num_rows
                    errors += table.num_rows - table.column("error").null_count
        os.replace(aside, part.target)
        return {"rows": rows, "errors": errors}


def row_groups(folder: Path, output: Path) -> Iterator[RowGroup]:
    """Yield the row groups of all Parquet files of a folder, in the order of their names."""
    for path in sorted(folder.glob("*.parquet")):
        metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            target = output / f"{path.stem}-{number:05d}.parquet"
            if rows := metadata.row_group(number).num_rows:
                yield RowGroup(str(path), number, rows, str(target))


def check_job(output: Path, options: dict[str, Any]) -> None:
    """Note the options of the first run. Exits if this run has others: files would not match."""
    output.mkdir(parents=True, exist_ok=True)
    note = output / "job.json"
    if not note.exists():
        note.write_text(json.dumps(options), encoding="utf-8")
    elif (before := json.loads(note.read_text(encoding="utf-8"))) != options:
        sys.exit(f"{output} has scores of another job: {before}; name another folder")
    for left_over in output.glob("*.part"):  # of actors that were killed
        left_over.unlink()


def main() -> None:
    """Score what has no file yet, and show the progress."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray's default is to report
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", help="folder or hub id; default: the embedded star model")
    parser.add_argument("--column", default="text", help="column of the texts (text)")
    parser.add_argument("--actors", type=int, default=2, help="actors, one core each (2)")
    parser.add_argument("--address", help="a running cluster, such as auto; default: start one")
    arguments = parser.parse_args()
    output = arguments.output.absolute()
    options = {"model": arguments.model, "column": arguments.column}
    check_job(output, options)
    parts = list(row_groups(arguments.input.absolute(), output))
    left = [part for part in parts if not Path(part.target).exists()]
    rows, done = sum(part.rows for part in parts), sum(part.rows for part in parts)
    done -= sum(part.rows for part in left)
    print(f"{done:,} of {rows:,} rows are scored", flush=True)
    if not left:
        return
    ray.init(address=arguments.address, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    scored = ray.data.from_items(
        [part._asdict() for part in left], override_num_blocks=len(left)
    ).map_batches(
        ScoreRowGroups,
        batch_format="pyarrow",
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=arguments.actors),
        num_cpus=1,
        fn_constructor_kwargs=options,
    )
    errors, before, began_s = 0, 0, 0.0
    for part in scored.iter_rows():
        done, errors = done + part["rows"], errors + part["errors"]
        if not before:  # the rate leaves out the start of the models
            before, began_s = done, time.monotonic()
        rate = (done - before) / max(time.monotonic() - began_s, 1e-3)
        print(f"{done:,} of {rows:,} rows, {rate:,.0f} a second, {errors:,} errors", flush=True)


if __name__ == "__main__":
    main()
