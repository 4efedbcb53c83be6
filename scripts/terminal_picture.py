"""Draw docs/pictures/demo.svg: the output of `make demo` in a terminal of 80 columns.

python -m scripts.terminal_picture
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections import defaultdict
from io import StringIO
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from .pages import ROOT

FILE = ROOT / "docs" / "pictures" / "demo.svg"
COMMAND = [sys.executable, "-m", "classwire", "demo"]
TITLE = "make demo"
ROWS, COLUMNS = 24, 80
FONTS = "Menlo, Consolas, DejaVu Sans Mono, monospace"
TIMEOUT_S = 110
CELL_WIDTH, CELL_HEIGHT = 12.2, 24.4
"""Size of a character in rich's SVG, in its units."""


def in_terminal(command: list[str]) -> str:
    """Run a command in a new terminal and return its output, colours included.

    Raises subprocess.CalledProcessError if it fails or does not end within TIMEOUT_S.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    overrides = {"COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in overrides}
    environment["TERM"] = "xterm-256color"
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, env=environment)
    os.close(terminal)
    watchdog = threading.Timer(TIMEOUT_S, process.kill)
    watchdog.start()
    written = bytearray()
    with open(controller, "rb", buffering=0) as screen:
        try:
            while part := screen.read(65536):
                written += part
        except OSError:  # how Linux reports that the last program has closed the terminal
            pass
    code = process.wait()
    watchdog.cancel()
    output = written.decode(errors="replace").replace("\r\n", "\n")
    if code:
        raise subprocess.CalledProcessError(code, command, output)
    return output


def draw(output: str) -> str:
    """Return the SVG picture of a terminal that shows an output in its colours."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False)
    console.print(Text.from_ansi(output.rstrip("\n")))
    picture = console.export_svg(title=TITLE)
    # An SVG in a page may not load a font, so it names fonts that readers have.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = picture.replace("font-family: Fira Code, monospace", f"font-family: {FONTS}")
    return "".join(line.rstrip() + "\n" for line in picture.splitlines())


def text_of(picture: str) -> str:
    """Return the text that a picture of `draw` shows, line by line."""
    lines: dict[int, str] = defaultdict(str)
    for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        if element.get("textLength"):  # the title has none
            row = int(float(element.attrib["y"]) // CELL_HEIGHT)
            column = round(float(element.attrib["x"]) / CELL_WIDTH)
            lines[row] = lines[row].ljust(column) + (element.text or "")
    shown = (
        lines[row].replace("\N{NO-BREAK SPACE}", " ").rstrip() for row in range(max(lines) + 1)
    )
    return "".join(line + "\n" for line in shown)


def plain(output: str) -> str:
    """Return the text of a terminal's output, without colours and spaces at the ends of lines."""
    text = Text.from_ansi(output).plain
    return "".join(line.rstrip() + "\n" for line in text.rstrip("\n").split("\n"))


def masked(text: str) -> str:
    """Return a demo's text with ports, times and rates masked, since they differ in each run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    return re.sub(
        r"[\d.,]+(?= (?:s|ms|texts/s)\b)|(?:(?<=tokenize )|(?<=queue )|(?<=model ))[\d.]+",
        "N",
        text,
    )


if __name__ == "__main__":
    FILE.write_text(draw(in_terminal(COMMAND)), encoding="utf-8")
