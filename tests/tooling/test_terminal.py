"""Commands run in a terminal of their own, and what its screen shows."""

import subprocess
import sys

import pytest

from scripts import terminal
from scripts.terminal import in_terminal, shown

REDRAWS = """
from rich.console import Console
from rich.live import Live
from rich.text import Text

console = Console()
console.print("above")
with Live(console=console, auto_refresh=False, transient=True) as live:
    for lines in ("one", "one\\ntwo\\nthree", "last\\nframe"):
        live.update(Text(lines), refresh=True)
console.print(Text("below", "red"))
"""


def test_command_sees_a_terminal() -> None:
    """The command's output is a terminal of the width that was asked for."""
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert in_terminal([sys.executable, "-c", code]) == "True 80\n"
    assert in_terminal([sys.executable, "-c", code], columns=60) == "True 60\n"


def test_command_that_fails_or_hangs_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails or hangs raises an error."""
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        in_terminal([sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(terminal, "TIMEOUT_S", 0.1)
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL"):
        in_terminal([sys.executable, "-c", "import threading; threading.Event().wait()"])


def test_what_was_cleared_is_not_shown() -> None:
    """Of lines that a program draws again and clears, the screen shows what is there at the end."""
    output = in_terminal([sys.executable, "-c", REDRAWS])
    assert "three" in output
    assert shown(output) == "above\n\x1b[31mbelow\x1b[0m\n"
    assert shown("a\nb\n\x1b[1A\x1b[2Kc\n") == "a\nc\n"
