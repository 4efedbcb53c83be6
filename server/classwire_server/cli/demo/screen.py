"""What the demo writes on: a terminal in colour, where a line may change, or a plain log."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.text import Text

from classwire.cli.rendering import console, print_lines
from classwire.escaping import visible

INDENT = 2
_REFRESHES_PER_S = 12.0


def must_be_plain() -> bool:
    """Whether standard output should get no escape sequence: the user set NO_COLOR, or it is no
    terminal. FORCE_COLOR allows colours where there is none. rich looks after TERM=dumb.
    """
    return bool(os.environ.get("NO_COLOR")) or not console().is_terminal


class Screen:
    """Prints chapters of indented lines. For one thread."""

    def __init__(self, *, is_plain: bool) -> None:
        self.is_plain = is_plain
        self._out = console(plain=is_plain)
        self._is_live = not is_plain and sys.stdout.isatty()
        self.width = max(self._out.width - INDENT, 1)
        """Cells of an indented line."""

    def chapter(self, title: str, detail: str) -> None:
        """Print a heading, with a line of detail below it."""
        self._out.print()
        self._out.print(Text(title, "bold magenta"))
        self.note(detail)

    def say(self, text: str) -> None:
        """Print a sentence, on as many lines as it needs."""
        for line in textwrap.wrap(visible(text), self._out.width) or [""]:
            self._out.print(Text(line))

    def note(self, text: str, style: str = "dim") -> None:
        """Print an indented sentence, on as many lines as it needs."""
        self.lines(Text(line, style) for line in textwrap.wrap(visible(text), self.width))

    def lines(self, lines: Iterable[Text]) -> None:
        """Print indented lines as they are."""
        print_lines(self._out, lines, INDENT)

    def commands(self, *commands: str) -> None:
        """Print commands for a shell, each on one line however long it is."""
        self.lines(Text(command, "bold cyan") for command in commands)

    @contextmanager
    def live(self, view: Callable[[], Iterable[Text]]) -> Iterator[None]:
        """While inside, show what `view` returns, on a terminal again and again; then print it.

        Another thread calls `view`.
        """

        def shown() -> Group:
            return Group(*(Text(" " * INDENT) + line for line in view()))

        if self._is_live:
            with Live(
                get_renderable=shown,
                console=self._out,
                refresh_per_second=_REFRESHES_PER_S,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            ):
                yield
        else:
            yield
        self.lines(view())
