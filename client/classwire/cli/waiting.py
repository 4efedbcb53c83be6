"""What a terminal shows while a command waits."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from .rendering import console, draws_unicode

_CLIENT = logging.getLogger("classwire")


@contextmanager
def elapsed(doing: str) -> Iterator[None]:
    """While inside, show `doing` with the elapsed time on standard error, if it is a terminal.

    Print nothing meanwhile.
    """
    terminal = console(stderr=True)
    spinner = SpinnerColumn("dots" if draws_unicode() else "line")
    columns = (spinner, TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_interactive
    ) as progress:
        progress.add_task(doing, total=None)
        yield


@contextmanager
def on_wait(tell: Callable[[float], None]) -> Iterator[None]:
    """While inside, call `tell` when the client waits to try again.

    Its argument is for how many seconds more the client tries. It runs on the client's thread.
    """

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            left_s: float | None = getattr(record, "left_s", None)
            tell(math.inf if left_s is None else left_s)

    handler, level = Handler(), _CLIENT.level
    _CLIENT.addHandler(handler)
    _CLIENT.setLevel(logging.INFO)
    try:
        yield
    finally:
        _CLIENT.setLevel(level)
        _CLIENT.removeHandler(handler)


class StateColumn(TimeRemainingColumn):
    """The task's `state` and its remaining time.

    If the task waits until `waits_until_s` of the monotonic clock, that is the time that is left.
    """

    def __init__(self) -> None:
        super().__init__(compact=True, table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Return the text."""
        until_s: float | None = task.fields["waits_until_s"]
        if until_s is None:
            return Text.assemble(task.fields["state"], " ", super().render(task), " left")
        left_s = max(until_s - time.monotonic(), 0)
        left = "" if math.isinf(left_s) else f", {left_s:.0f} s left"
        return Text(f"{task.fields['state']}{left}", "yellow")
