"""Files and folders of Parquet: rows in, the same rows with results out."""

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from typing import Any

import pyarrow as pa

from classwire import Client, Model
from classwire.cli.connection import Connection
from classwire.cli.failures import terminating
from classwire.cli.outputs import OutputFile, Scored
from classwire.cli.progress import FileProgress
from classwire.cli.resumption import Written
from classwire.cli.rows import InputFile, Row
from classwire.cli.rows.parquet import RowGroups
from classwire.cli.scoring import Scoring
from classwire.cli.waiting import on_wait

from .files import ScoredFile, check_output, files_of
from .parts import Begun, Parts, origin_of
from .results import ResultColumns, Results


def score_parquet(
    connection: Connection, source: InputFile, target: OutputFile, scoring: Scoring
) -> int:
    """Score every row of a file or folder, and return how many rows failed.

    With `resume`, it keeps the row groups that have results, and counts their errors too. Raises
    WrongUse before it writes anything if a file, a column or an output is wrong.
    """
    columns = ResultColumns(
        "index" if scoring.labels else "label_id",
        target.prefix,
        has_windows=scoring.options.get("include_windows", False),
    )
    files = files_of(source, target)
    for file in files:
        check_output(file, target, columns.schema.names)
    with terminating(), connection.open(patience_s=connection.item_timeout_s) as client:
        model = client.model(connection.model)
        jobs = [_Job(file, model, scoring, columns) for file in files]
        begun = [job.begun() if target.resume else Begun() for job in jobs]
        written = _together(each.written for each in begun)
        size_bytes = sum(file.size_bytes for file in files)
        with (
            FileProgress(source.path, size_bytes, target.path, written) as progress,
            on_wait(progress.wait),
        ):
            errors = written.errors
            for job, before in zip(jobs, begun, strict=True):
                if not before.is_finished:
                    errors += job.score(client, before.groups, progress)
            return errors


def _together(each_written: Iterator[Written]) -> Written:
    """What earlier runs have written of all files."""
    every = list(each_written)
    return Written(
        sum(written.rows for written in every),
        sum(written.errors for written in every),
        input_bytes=sum(written.input_bytes for written in every),
    )


class _Job:
    """The scoring of one file."""

    def __init__(
        self, file: ScoredFile, model: Model, scoring: Scoring, columns: ResultColumns
    ) -> None:
        self._file = file
        self._model = model
        self._scoring = scoring
        self._columns = columns

    def begun(self) -> Begun:
        """What earlier runs left of it."""
        if not self._file.has_output:
            return Begun()
        with self._file.open() as groups, closing(self._parts(groups)) as parts:
            return parts.begun()

    def score(self, client: Client, begun: int, progress: FileProgress) -> int:
        """Score the rows behind the first `begun` row groups, and return how many rows failed."""
        with self._file.open() as groups, closing(self._parts(groups)) as parts:
            if not begun:
                parts.discard()
            # The row groups that have rows without a result: two, unless they are small.
            current: deque[tuple[int, pa.Table, Results]] = deque()

            def rows() -> Iterator[Row]:
                for group in range(begun, len(groups.sizes)):
                    table = groups.table(group)
                    current.append((group, table, Results(self._columns)))
                    yield from groups.rows_of(group, table)

            def emit(row: Row, outcome: Scored) -> None:
                group, table, results = current[0]
                if not results.rows:
                    parts.begin()  # so that a wrong folder costs no row group
                results.add(outcome)
                if results.rows == table.num_rows:
                    parts.write(group, results.appended_to(table))
                    current.popleft()
                progress.advance(row, outcome)

            errors = 0
            if begun < len(groups.sizes):
                errors = self._scoring.run(client, rows(), emit)
            parts.finish()
            return errors

    def _parts(self, groups: RowGroups) -> Parts:
        return Parts(self._file.output, groups, self._origin, self._columns)

    @cached_property
    def _origin(self) -> dict[str, Any]:
        columns = self._file.columns
        settings = {
            "column": columns.text,
            "pair_column": columns.pair,
            "prefix": self._columns.prefix,
            "labels": self._scoring.labels or None,
            **self._scoring.options,
        }
        del settings["priority"]  # changes when a text is scored, but no score
        return origin_of(self._file.source, self._model, settings)
