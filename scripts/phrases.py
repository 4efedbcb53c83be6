"""Rejects phrases that readers stumble over in Markdown and Python files.

Looks at every such file of the git repository of the working directory that git does not ignore. So
it covers the documentation, and `--help` and metric texts where they are written. Prints each
finding as `path:line: phrase` and exits with 1 if there is any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED = (
    "whoever",
    "of ours",
    "such as nobody",
    "at the least",
    "in a hurry",
    "of late",
    "what is refused",
)
EXEMPT = ("scripts/phrases.py", "tests/tooling/test_phrases.py")
"""The files that list the phrases."""

_GAP = r"""(?:\s|[#>"']|\bf(?="))+"""
"""Between two words: spaces, and line breaks with the marks of comments, quotes and strings."""
_PATTERN = re.compile(
    rf"\b(?:{'|'.join(_GAP.join(phrase.split()) for phrase in BANNED)})\b", re.IGNORECASE
)
_WORD = re.compile(r"[a-z]{2,}|\ba\b", re.IGNORECASE)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number, from 1, and the phrase of each finding in a text."""
    for match in _PATTERN.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield line, " ".join(_WORD.findall(match[0])).lower()


def main() -> int:
    """Print the findings in the repository and return the exit status."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md", "*.py"],
        check=True,
        capture_output=True,
    )
    names = [name for name in dict.fromkeys(listed.stdout.decode().split("\0")) if name]
    # git still lists a file that is deleted but not yet committed as deleted.
    paths = [Path(name) for name in names if name not in EXEMPT and Path(name).is_file()]
    found = [
        f"{path}:{line}: {phrase}"
        for path in paths
        for line, phrase in findings(path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found) or f"{len(paths)} files: no banned phrase")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
