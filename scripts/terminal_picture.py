"""Draw docs/pictures/demo.svg, the screen of `make demo`, and write its text into the README.

python -m scripts.terminal_picture
"""

import os
import re
import sys
from collections import defaultdict
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from .pages import ROOT, between
from .readme import README, dated
from .terminal import COLUMNS, in_terminal, shown

MARKERS = ("<!-- demo: begin -->", "<!-- demo: end -->")
FILE = ROOT / "docs" / "pictures" / "demo.svg"
COMMAND = [os.path.relpath(Path(sys.executable).with_name("classwire"), ROOT), "demo"]
"""What `make demo` runs, in the root of the repository."""
TITLE = "make demo"
FONTS = "Menlo, Consolas, DejaVu Sans Mono, monospace"
CELL_WIDTH, CELL_HEIGHT = 12.2, 24.4
"""Size of a character in rich's SVG, in its units."""


def demo() -> str:
    """Run the demo as `make demo` does, and return its screen at the end, in colour."""
    return shown(in_terminal(COMMAND, folder=ROOT, environment={"PATH": os.defpath}))


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
    """Return a demo's text without what differs in each run: ports, process ids, times, rates, and
    the folder of the command.
    """
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"\S*/(?=classwire (?:serve|classify))", "", text)
    text = re.sub(r"(?<=process )\d+", "PID", text)
    return re.sub(
        r" *[\d.,]+(?= (?:s|ms|texts/s)\b)|(?:(?<=tokenize )|(?<=queue )|(?<=model ))[\d.]+",
        "N",
        text,
    )


def block(text: str) -> str:
    """Return what the README shows of a demo's text."""
    return f"```\n{text}```"


def main() -> None:
    """Run the demo once; write the picture, and its text into the README."""
    picture = draw(demo())
    FILE.write_text(picture, encoding="utf-8")
    page = README.read_text(encoding="utf-8")
    body = dated(block(text_of(picture)))
    README.write_text(between(page, *MARKERS, body), encoding="utf-8")


if __name__ == "__main__":
    main()
