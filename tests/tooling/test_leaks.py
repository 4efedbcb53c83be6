"""`make leaks` finds text that must not be committed, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "leaks.py"

# Each leak is put together here, so that this file holds none.
PLANTED = {
    "home": ("a path of one machine", 'open("/' + 'home/ada/weights.bin")'),
    "file-url": ("a path of one machine", "file:///" + "root/wheels"),
    "windows": ("a path of one machine", "C:\\" + "Users\\ada"),
    "registry": ("the host of a package registry", "see https://pypi" + ".org/project/x"),
    "index": (
        "the address of a package index",
        "--extra-index-" + "url https://mirror.local/simple",
    ),
    "links": ("the address of a package index", "--find-" + "links /opt/wheels"),
    "reference": ("a dependency that is not fetched by name", "torch @ " + "file:///wheels/t.whl"),
    "key": ("a private key", "-----BEGIN RSA PRIVATE" + " KEY-----"),
    "hub-token": ("an access token", "hf_" + "a1B2" * 9),
    "cloud-token": ("an access token", "AKIA" + "ABCD1234" * 2),
    "credentials": ("credentials in an address", "https://ada:" + "secret@example.com"),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return an empty git repository."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def leaks(repository: Path) -> subprocess.CompletedProcess[str]:
    """Return a function that runs the script in a repository and returns the finished process."""
    return subprocess.run(
        [sys.executable, SCRIPT],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("what", "text"), PLANTED.values(), ids=PLANTED)
def test_planted_leak_is_found_by_line_and_not_repeated(
    repository: Path, what: str, text: str
) -> None:
    """The script names file, line and kind of a leak that git would commit, and never shows its
    text.
    """
    (repository / "notes.md").write_text(f"harmless\n{text}\n")

    ended = leaks(repository)

    assert ended.returncode == 1
    assert f"notes.md:2: {what}" in ended.stdout.splitlines()
    assert text not in ended.stdout


def test_leak_inside_binary_file_is_found(repository: Path) -> None:
    """The script searches binary files as well."""
    (repository / "model.bin").write_bytes(b"\x00\xff\x00" + b"/" + b"home/ada/run" + b"\x00")

    assert "model.bin:1: a path of one machine" in leaks(repository).stdout


def test_ordinary_text_passes(repository: Path) -> None:
    """Relative paths, addresses with a path, placeholders and ignored files are no leaks."""
    (repository / ".gitignore").write_text("local/\n")
    (repository / "local").mkdir()
    (repository / "local" / "notes.md").write_text(PLANTED["home"][1])
    (repository / "notes.md").write_text(
        "client/home/page, https://example.com/home/page, ~/home/x, --model /path/to/model, "
        "hf_hub_download, http://localhost:8080/@x, {user}:{secret}@host\n"
    )

    ended = leaks(repository)

    assert (ended.returncode, ended.stdout) == (
        0,
        "2 files: no machine path, registry host or secret\n",
    )
