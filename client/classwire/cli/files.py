"""Files of texts: rows in, results out, progress on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from classwire import ClasswireError, Client

from .connection import Connection
from .failures import WrongUse, described, terminating
from .ordering import classify_rows
from .outputs import Format, JsonLines, OutputFile, Scored, Table
from .rendering import console
from .resumption import Written, foreign, read_written
from .row_options import STANDARD
from .rows import InputFile, Row, open_rows
from .waiting import StateColumn, on_wait

LINE_EVERY_S = 60.0
"""Time between two lines of progress where there is no terminal."""

EmitScored: TypeAlias = Callable[[Row, Scored], None]
Run: TypeAlias = Callable[[Client, Iterator[Row], EmitScored], int]
"""Scores rows, hands each outcome to the function in order, and returns the number of errors."""


def classify_file(
    connection: Connection, source: InputFile, target: OutputFile, **options: Any
) -> int:
    """Classify every row of `source` into `target` and return how many rows failed."""

    def run(client: Client, rows: Iterator[Row], emit: EmitScored) -> int:
        return classify_rows(
            client, rows, emit, item_timeout_s=connection.item_timeout_s, **options
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


class FileProgress:
    """A progress bar with rate, errors and remaining time, and a last line.

    The bar counts bytes, since the number of rows is known only at the end. Without a terminal
    there is a line every LINE_EVERY_S instead. Rows that were `written` before count, but not in
    the rate.
    """

    def __init__(self, source: Path, output: Path, written: Written) -> None:
        self.rows = written.rows
        self.errors = written.errors
        self._written = written
        self._output = output
        self._started_s = self._line_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            StateColumn(),
            console=(terminal := console(stderr=True)),
            disable=not terminal.is_terminal,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task(
            source.name,
            total=source.stat().st_size if source != STANDARD else None,
            completed=written.input_bytes,
            state=self._state(),
            waits_until_s=None,
        )

    def __enter__(self) -> "FileProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        stopped = "stopped after " if kind else ""
        place = "" if self._output == STANDARD else f" in {self._output}"
        if kind and place:
            place += "; continue with the same command and --resume"
        click.echo(f"{stopped}{self._state()}, {self._elapsed_s():.1f} s{place}", err=True)

    def advance(self, row: Row, outcome: object) -> None:
        """Count one more row, and its error if it has one."""
        self.rows += 1
        self.errors += isinstance(outcome, ClasswireError)
        self._bar.update(
            self._task, completed=row.end_bytes, state=self._state(), waits_until_s=None
        )
        self._log(self._state())

    def wait(self, left_s: float) -> None:
        """Show that the server is gone, and the seconds that the command waits for it, until a row
        comes.
        """
        waits = f"{self._rows()}, waiting for the server"
        self._bar.update(self._task, state=waits, waits_until_s=time.monotonic() + left_s)
        self._log(waits)

    def _log(self, state: str) -> None:
        now_s = time.monotonic()
        if self._bar.disable and now_s - self._line_s >= LINE_EVERY_S:
            self._line_s = now_s
            click.echo(f"{state}, {self._elapsed_s():.0f} s", err=True)

    def _state(self) -> str:
        rate = (self.rows - self._written.rows) / self._elapsed_s()
        errors = "1 error" if self.errors == 1 else f"{self.errors:,} errors"
        return f"{self._rows()}, {rate:,.0f} texts/s, {errors}"

    def _rows(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        before = f" ({self._written.rows:,} from before)" if self._written.rows else ""
        return rows + before

    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._started_s, 1e-6)


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
