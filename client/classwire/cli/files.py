"""Files of texts: rows in, results out, progress on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import click

from classwire import ClasswireError, Client

from .connection import Connection
from .distribution import Distribution
from .failures import WrongUse, described, terminating
from .ordering import classify_rows
from .outputs import Format, JsonLines, OutputFile, Scored, Table
from .progress import FileProgress
from .resumption import Written, foreign, read_written
from .row_options import STANDARD
from .rows import InputFile, Row, open_rows
from .waiting import on_wait
from .windows import check_server

EmitScored: TypeAlias = Callable[[Row, Scored], None]
Run: TypeAlias = Callable[[Client, Iterator[Row], EmitScored], int]
"""Scores rows, hands each outcome to the function in order, and returns the number of errors."""


def classify_file(
    connection: Connection,
    source: InputFile,
    target: OutputFile,
    counts: Distribution,
    **options: Any,
) -> int:
    """Classify every row of `source` into `target` and return how many rows failed."""

    def run(client: Client, rows: Iterator[Row], emit: EmitScored) -> int:
        check_server(client, options)
        return classify_rows(
            client,
            rows,
            counts.counting(emit),
            item_timeout_s=connection.item_timeout_s,
            **options,
        )

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
                _opened(output, written) as out,
                FileProgress(source.path, output, written) as progress,
                on_wait(progress.wait),
            ):
                if not written.rows:
                    out.write(head)

                def emit(row: Row, outcome: Scored) -> None:
                    out.write(format.result(row, outcome))
                    out.flush()
                    if target.tabs and isinstance(outcome, ClasswireError):
                        message = described(outcome, f"row {row.index}")
                        click.echo(f"classwire: {message}", err=True)
                    progress.advance(row, outcome)

                return written.errors + run(client, rows, emit)


def _check_output(target: OutputFile, source: Path) -> None:
    output = target.path
    if output == STANDARD or not output.exists():
        return
    if source != STANDARD and output.samefile(source):
        raise WrongUse(f"{output} is the file to read")
    if not target.force and not target.resume and output.is_file():
        raise WrongUse(f"{output} exists; --resume continues it, --force overwrites it")


@contextmanager
def _opened(output: Path, written: Written) -> Iterator[BinaryIO]:
    if output == STANDARD:
        yield sys.stdout.buffer
        return
    with output.open("r+b" if written.rows else "wb") as file:
        if written.rows:
            file.truncate(file.seek(written.output_bytes))
        yield file
