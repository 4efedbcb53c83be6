"""Files of texts: rows in, JSON lines out, progress on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from classwire import ClasswireError, Client, Outcome, ZeroShotClassification

from .connection import Connection
from .failures import WrongUse
from .ordering import classify_rows
from .records import json_line, outcome_record
from .rendering import console
from .resumption import Written, identity, read_written
from .rows import Columns, Row, open_rows

STDOUT = Path("-")

Scored: TypeAlias = Outcome | ZeroShotClassification
EmitScored: TypeAlias = Callable[[Row, Scored], None]
Run: TypeAlias = Callable[[Client, Iterator[Row], EmitScored], int]
"""Scores rows, hands each outcome to the function in order, and returns the number of errors."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """Where results go."""

    path: Path = STDOUT
    force: bool = False
    resume: bool = False


def classify_file(
    connection: Connection, source: Path, columns: Columns, target: OutputFile, **options: Any
) -> int:
    """Classify every row of `source` into `target` and return how many rows failed."""

    def run(client: Client, rows: Iterator[Row], emit: EmitScored) -> int:
        return classify_rows(
            client, rows, emit, item_timeout_s=connection.item_timeout_s, **options
        )

    return score_file(connection, source, columns, target, run)


def score_file(
    connection: Connection, source: Path, columns: Columns, target: OutputFile, run: Run
) -> int:
    """Score every row of `source` into `target` by `run`, and return how many rows failed.

    With `resume`, it keeps the rows that `target` already has, and counts their errors too. Raises
    WrongUse before it writes anything if the file, a column or the output is wrong.
    """
    output = target.path
    _check_output(output, source, target.force, target.resume)
    with open_rows(source, columns) as rows:
        written = Written()
        if target.resume and output.is_file():
            written, rows = read_written(output, rows, columns)
        with connection.open() as client:
            client.model(connection.model)  # an unknown model fails before a file is created
            with _opened(output, written) as out, FileProgress(source, output, written) as progress:

                def emit(row: Row, outcome: Scored) -> None:
                    out.write(json_line(identity(row, columns) | outcome_record(outcome)))
                    out.flush()
                    progress.advance(row, outcome)

                return written.errors + run(client, rows, emit)


class FileProgress:
    """A progress bar with rate, errors and remaining time, and a last line.

    The bar counts bytes, since the number of rows is known only at the end. Without a terminal
    there is only the last line. Rows that were `written` before count, but not in the rate.
    """

    def __init__(self, source: Path, output: Path, written: Written) -> None:
        self.rows = written.rows
        self.errors = written.errors
        self._written = written
        self._output = output
        self._started_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=(terminal := console(stderr=True)),
            disable=not terminal.is_terminal,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task(
            source.name,
            total=source.stat().st_size,
            completed=written.input_bytes,
            state=self._state(),
        )

    def __enter__(self) -> "FileProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        stopped = "stopped after " if kind else ""
        place = "" if self._output == STDOUT else f" in {self._output}"
        if kind and place:
            place += "; continue with the same command and --resume"
        click.echo(f"{stopped}{self._state()}, {self._elapsed_s():.1f} s{place}", err=True)

    def advance(self, row: Row, outcome: object) -> None:
        """Count one more row, and its error if it has one."""
        self.rows += 1
        self.errors += isinstance(outcome, ClasswireError)
        self._bar.update(self._task, completed=row.end_bytes, state=self._state())

    def _state(self) -> str:
        rate = (self.rows - self._written.rows) / self._elapsed_s()
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        before = f" ({self._written.rows:,} from before)" if self._written.rows else ""
        errors = "1 error" if self.errors == 1 else f"{self.errors:,} errors"
        return f"{rows}{before}, {rate:,.0f} texts/s, {errors}"

    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._started_s, 1e-6)


def _check_output(output: Path, source: Path, force: bool, resume: bool) -> None:
    if output == STDOUT or not output.exists():
        return
    if output.samefile(source):
        raise WrongUse(f"{output} is the file to read")
    if not force and not resume and output.is_file():
        raise WrongUse(f"{output} exists; --resume continues it, --force overwrites it")


@contextmanager
def _opened(output: Path, written: Written) -> Iterator[BinaryIO]:
    if output == STDOUT:
        yield sys.stdout.buffer
        return
    with output.open("r+b" if written.rows else "wb") as file:
        if written.rows:
            file.truncate(file.seek(written.output_bytes))
        yield file
