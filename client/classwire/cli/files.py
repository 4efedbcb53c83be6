"""Files of texts: rows in, results out, progress on standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from classwire import ClasswireError, Client

from .connection import Connection
from .distribution import Distribution
from .failures import Failure, WrongUse, described, terminating
from .locking import lock
from .ordering import classify_rows
from .outputs import Format, JsonLines, OutputFile, Scored, Table
from .progress import FileProgress
from .resumption import Written, foreign, read_written
from .row_options import STANDARD
from .rows import InputFile, Row, open_rows
from .rows.parquet import pyarrow_or_fail
from .scoring import EmitScored, Run, Scoring
from .waiting import on_wait


def classify_file(
    connection: Connection,
    source: InputFile,
    target: OutputFile,
    counts: Distribution,
    **options: Any,
) -> int:
    """Classify every row of `source` into `target` and return how many rows failed."""

    def run(client: Client, rows: Iterator[Row], emit: EmitScored) -> int:
        return classify_rows(
            client,
            rows,
            counts.counting(emit),
            item_timeout_s=connection.item_timeout_s,
            **options,
        )

    return score_file(connection, source, target, Scoring(run, options))


def score_file(
    connection: Connection, source: InputFile, target: OutputFile, scoring: Scoring
) -> int:
    """Score every row of `source` into `target`, and return how many rows failed.

    With `resume`, it keeps the results that `target` already has, and counts their errors too.
    Raises WrongUse before it writes anything if the file, a column or the output is wrong, and
    Failure if another run writes the output.
    """
    if target.is_parquet(source):
        pyarrow_or_fail()
        from .parquet.run import score_parquet

        return score_parquet(connection, source, target, scoring)
    only_best = scoring.options.get("top_k") == 1
    format = target.format(source.columns, only_best=only_best, labels=scoring.labels)
    return _score_rows(connection, source, target, format, scoring.run)


def _score_rows(
    connection: Connection, source: InputFile, target: OutputFile, format: Format, run: Run
) -> int:
    output = target.path
    _check_output(target, source.path)
    found_bytes = output.stat().st_size if output.is_file() else 0
    with open_rows(source) as rows:
        written = Written()
        if target.resume and output.is_file() and isinstance(format, JsonLines | Table):
            written, rows = read_written(output, format, rows)
        with terminating(), connection.open(patience_s=connection.item_timeout_s) as client:
            # An unknown model fails before a file is created.
            head = format.head(client.model(connection.model))
            if written.rows and written.head != head:
                raise foreign(output, "line 1 has the labels of another model or of other options")
            with (
                closing(_LateOutput(output, found_bytes, written, head)) as late,
                FileProgress(source.path, source.size_bytes, output, written) as progress,
                on_wait(progress.wait),
            ):

                def emit(row: Row, outcome: Scored) -> None:
                    late.write(format.result(row, outcome))
                    if target.tabs and isinstance(outcome, ClasswireError):
                        message = described(outcome, f"row {row.index}")
                        click.echo(f"classwire: {message}", err=True)
                    progress.advance(row, outcome)

                errors = run(client, rows, emit)
                late.write(b"")  # a file without rows has an output too
                return written.errors + errors


class _LateOutput:
    """Where results are written. It creates and locks their file with the first of them, so that a
    run that the server rejects leaves none.

    `found_bytes` is the size of the file when `written` was read.
    """

    def __init__(self, output: Path, found_bytes: int, written: Written, head: bytes) -> None:
        self._output = output
        self._found_bytes = found_bytes
        self._written = written
        self._head = head
        self._file: BinaryIO | None = None

    def write(self, result: bytes) -> None:
        """Add a result behind those that are already there.

        Raises Failure if another run writes the file, or has written it.
        """
        if self._file is None:
            self._file = self._begun()
        self._file.write(result)
        self._file.flush()

    def close(self) -> None:
        """Close the file, but not standard output."""
        if self._file is not None and self._output != STANDARD:
            self._file.close()

    def _begun(self) -> BinaryIO:
        if self._output == STANDARD:
            file: BinaryIO = sys.stdout.buffer
        else:
            file = self._output.open("ab")
            if self._output.is_file():
                try:
                    self._claim(file)
                except BaseException:
                    file.close()
                    raise
        if not self._written.rows:
            file.write(self._head)
        return file

    def _claim(self, file: BinaryIO) -> None:
        """Lock the file, and remove what is behind the results to keep."""
        lock(file.fileno(), self._output)
        if file.seek(0, os.SEEK_END) != self._found_bytes:
            raise Failure(f"another run has written {self._output}")
        file.truncate(self._written.output_bytes)


def _check_output(target: OutputFile, source: Path) -> None:
    output = target.path
    if output == STANDARD:
        return
    if not output.parent.is_dir():
        raise WrongUse(f"{output.parent}: no such folder")
    if not output.exists():
        return
    if source != STANDARD and output.samefile(source):
        raise WrongUse(f"{output} is the file to read")
    if not target.force and not target.resume and output.is_file():
        raise WrongUse(f"{output} exists; --resume continues it, --force overwrites it")
