"""Files of texts: rows in, results out, progress on standard error."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from classwire import ClasswireError, Client

from .connection import Connection
from .distribution import Distribution
from .failures import WrongUse, described, terminating
from .ordering import EmitScored, Run, classify_rows
from .outputs import Format, JsonLines, OutputFile, Scored, Table
from .progress import FileProgress
from .resumption import Written, foreign, read_written
from .row_options import STANDARD
from .rows import InputFile, Row, open_rows
from .rows.parquet import pyarrow_or_fail
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

    if target.is_parquet(source):
        pyarrow_or_fail()
        from .parquet.results import ResultColumns
        from .parquet.run import Scoring, score_parquet

        columns = ResultColumns("label_id", target.prefix, has_windows=options["include_windows"])
        return score_parquet(connection, source, target, Scoring(run, columns, options))
    format = target.format(source.columns, only_best=options.get("top_k") == 1)
    return score_file(connection, source, target, format, run)


def score_file(
    connection: Connection, source: InputFile, target: OutputFile, format: Format, run: Run
) -> int:
    """Score every row of `source` into `target` by `run`, and return how many rows failed.

    With `resume`, it keeps the results that `target` already has, and counts their errors too.
    Raises WrongUse before it writes anything if the file, a column or the output is wrong.
    """
    output = target.path
    _check_output(target, source.path)
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
                closing(_LateOutput(output, written, head)) as late,
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
    """Where results are written. It creates their file with the first of them, so that a run that
    the server rejects leaves none.
    """

    def __init__(self, output: Path, written: Written, head: bytes) -> None:
        self._output = output
        self._written = written
        self._head = head
        self._file: BinaryIO | None = None

    def write(self, result: bytes) -> None:
        """Add a result behind those that are already there."""
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
            file = self._output.open("r+b" if self._written.rows else "wb")
        if self._written.rows:
            file.truncate(file.seek(self._written.output_bytes))
        else:
            file.write(self._head)
        return file


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
