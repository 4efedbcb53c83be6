"""`make check` rejects phrases that readers stumble over."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.phrases import BANNED, EXEMPT, findings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("phrase", BANNED)
def test_each_phrase_is_found(phrase: str) -> None:
    """A phrase is found in any case, with its line."""
    assert list(findings(f"One line.\nIt is {phrase.upper()}, here.\n")) == [(2, phrase)]


@pytest.mark.parametrize(
    "text",
    [
        "callers are in a\nhurry",
        "# callers are in a\n    # hurry",
        "> callers are in a\n> hurry",
        '"callers are in a "\n    "hurry"',
        '"callers are in a "\n    f"hurry"',
        "callers are  in a hurry",
    ],
)
def test_across_line_breaks(text: str) -> None:
    """A phrase is found across lines of prose, comments, quotes and adjacent strings."""
    assert list(findings(text)) == [(1, "in a hurry")]


@pytest.mark.parametrize("text", ["of latest", "thereof ours", "a hurry in", "in, a hurry"])
def test_whole_words_only(text: str) -> None:
    """Parts of words, words in another order and words with a comma between are no findings."""
    assert not list(findings(text))


def test_files_of_a_repository(tmp_path: Path) -> None:
    """The script names file, line and phrase. It skips ignored files and other kinds of files."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    (tmp_path / "ignored.md").write_text(BANNED[0])
    (tmp_path / "data.json").write_text(BANNED[0])
    (tmp_path / "page.md").write_text(f"A page.\nFor {BANNED[0]}.\n")

    ended = subprocess.run(
        [sys.executable, ROOT / "scripts" / "phrases.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (1, f"page.md:2: {BANNED[0]}\n")


def test_exempt_files_exist() -> None:
    """Each exempt file exists and has a banned phrase, else it needs no exemption."""
    for name in EXEMPT:
        assert list(findings((ROOT / name).read_text(encoding="utf-8")))
