"""Copy files into the documentation: fill the blocks of README.md and docs/.

A block is a line `<!-- file: PATH -->`, with the path from the root of the repository, and a line
`<!-- /file -->`; the text between them is replaced by the file in a fence. A notebook is shown as
its texts, its code and its outputs.

python -m scripts.pages [--check]
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .notebook_page import markdown

ROOT = Path(__file__).parents[1]
BEGIN = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)
END = "<!-- /file -->"
LANGUAGES = {
    ".cc": "cpp",
    ".cfg": "",
    ".conf": "nginx",
    ".go": "go",
    ".h": "cpp",
    ".java": "java",
    ".js": "javascript",
    ".json": "json",
    ".mjs": "javascript",
    ".proto": "protobuf",
    ".py": "python",
    ".rb": "ruby",
    ".sh": "bash",
    ".toml": "toml",
    ".ts": "typescript",
    ".txt": "cmake",
    ".yaml": "yaml",
    "": "bash",
}


def between(page: str, begin: str, end: str, body: str) -> str:
    """Return the page with the text between two markers replaced.

    Raises ValueError unless `begin` occurs once and `end` follows it.
    """
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found or begin in rest:
        raise ValueError(f"the page does not have once {begin} … {end}")
    return f"{before}{begin}\n\n{body.strip()}\n\n{end}{after}"


def filled(page: str, root: Path = ROOT) -> str:
    """Return the page with every block filled from its file.

    Raises ValueError for a block without an end or one that occurs twice, OSError for a missing
    file, KeyError for a file type without a language.
    """
    for block in BEGIN.finditer(page):
        file = root / block[1]
        text = file.read_text(encoding="utf-8").rstrip()
        is_notebook = file.suffix == ".ipynb"
        body = markdown(text) if is_notebook else f"```{LANGUAGES[file.suffix]}\n{text}\n```"
        page = between(page, block[0], END, body)
    return page


def stale(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each page with outdated blocks, and its correct text."""
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        page = path.read_text(encoding="utf-8")
        if page != (wanted := filled(page, root)):
            yield path, wanted


def main() -> int:
    """Write or check the pages and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="list stale pages, change none")
    is_check = parser.parse_args().check
    pages = list(stale())
    for path, wanted in pages:
        print(f"{path.relative_to(ROOT)}: {'stale' if is_check else 'written'}")
        if not is_check:
            path.write_text(wanted, encoding="utf-8")
    return int(is_check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
