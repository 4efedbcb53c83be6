"""The progress of a file of texts, on standard error."""

import time
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from classwire import ClasswireError

from .failures import is_wrong_use
from .rendering import console
from .resumption import Written
from .row_options import STANDARD
from .rows import Row
from .waiting import StateColumn

LINE_EVERY_S = 60.0
"""Time between two lines of progress where there is no terminal."""


class FileProgress:
    """A progress bar with rate, errors and remaining time, and a last line.

    The bar counts bytes, since the number of rows is known only at the end; `size_bytes` is None
    for standard input. Without a terminal there is a line every LINE_EVERY_S instead. Rows that
    were `written` before count, but not in the rate.
    """

    def __init__(
        self, source: Path, size_bytes: int | None, output: Path, written: Written
    ) -> None:
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
            disable=not terminal.is_interactive,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task(
            source.name,
            total=size_bytes,
            completed=written.input_bytes,
            state=self._state(),
            waits_until_s=None,
        )

    def __enter__(self) -> "FileProgress":
        self._bar.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._bar.stop()
        if is_wrong_use(error) and self.rows == self._written.rows:
            return  # nothing was done
        stopped = "stopped after " if error else ""
        place = "" if self._output == STANDARD else f" in {self._output}"
        if error and place and not is_wrong_use(error):
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
