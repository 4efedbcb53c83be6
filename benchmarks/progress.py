"""Progress of long runs, on standard error."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Prints one line of progress."""


def progress() -> Say:
    """A function that prints a line with the time since this call, in minutes and seconds."""
    started_s = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(round(time.monotonic() - started_s), 60)
        print(f"{minutes:3}:{seconds:02}  {line}", file=sys.stderr, flush=True)

    return say
