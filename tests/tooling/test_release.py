"""`make release` on a copy of the checkout: what it rejects, and what a release contains."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from scripts import distributions, release

ROOT = Path(__file__).parents[2]
PARTS = ("client", "server", "protos", "scripts", "pyproject.toml", "LICENSE", "buf.yaml")
WEIGHTS = "server/classwire_server/models/stars-en/model.safetensors"
VERSION = "7.8.9"
WHO = {
    f"GIT_{role}_{what}": said
    for role in ("AUTHOR", "COMMITTER")
    for what, said in (("NAME", "Somebody"), ("EMAIL", "somebody@classwire.example"))
}
CHANGES = """# Changelog

## [Unreleased]

### Added

- Something.
"""

Run = Callable[..., str]


def git(repository: Path, *arguments: str) -> str:
    """What a command of git prints."""
    command = ("git", "-C", str(repository), *arguments)
    environment = os.environ | WHO
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def make_release(repository: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script in a repository, without the tests that CI has run."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.release", *arguments, "--skip-tests"],
        cwd=repository,
        env=os.environ | WHO,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what is released, and a changelog of its own."""
    copy = tmp_path_factory.mktemp("release") / "repository"
    for name in PARTS:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    (copy / WEIGHTS).write_bytes(b"few, lest a test takes long to compress them")
    (copy / "CHANGELOG.md").write_text(CHANGES)
    (copy / ".gitignore").write_text(".venv\n__pycache__/\ndist/\n")
    (copy / ".venv").symlink_to(sys.prefix)
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "All of it")
    return copy


@pytest.fixture(scope="module")
def released(repository: Path) -> Path:
    """The repository after a dry run, which changed nothing, and the release itself."""
    head = git(repository, "rev-parse", "HEAD")
    tried = make_release(repository, VERSION, "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert "nothing is changed" in tried.stdout
    assert (git(repository, "rev-parse", "HEAD"), git(repository, "tag")) == (head, "")
    assert git(repository, "status", "--porcelain") == ""
    done = make_release(repository, VERSION)
    assert done.returncode == 0, done.stderr
    return repository


def test_a_release_is_a_commit_with_a_tag(released: Path) -> None:
    """The tag says what is new; the tree is clean, and a second one of that version is refused."""
    assert git(released, "tag") == f"v{VERSION}\n"
    assert git(released, "rev-parse", f"v{VERSION}^{{}}") == git(released, "rev-parse", "HEAD")
    assert git(released, "log", "-1", "--format=%s") == f"Release {VERSION}\n"
    notes = git(released, "tag", "--list", "--format=%(contents)", f"v{VERSION}")
    assert "### Added\n\n- Something." in notes
    assert git(released, "status", "--porcelain") == ""

    again = make_release(released, VERSION)
    assert (again.returncode, again.stderr) == (
        1,
        f"release: there is a tag v{VERSION} already\n",
    )


def test_the_version_stands_everywhere(released: Path) -> None:
    """In the package, in both dependencies, in the changelog with its date, in both bills."""
    for name, form in release.SET.items():
        assert form.format(VERSION) in (released / name).read_text()
    changelog = (released / "CHANGELOG.md").read_text()
    _, _, section = changelog.partition(f"{release.UNRELEASED}\n## [{VERSION}] - 2")
    assert section.endswith("### Added\n\n- Something.\n")
    for bill in ("client/classwire.cdx.json", "server/classwire-server.cdx.json"):
        said = json.loads((released / bill).read_text())
        assert said["metadata"]["component"]["version"] == VERSION


def test_what_was_built_is_what_was_checked(released: Path) -> None:
    """Two wheels and two source distributions with nothing wrong, whose checksums fit."""
    dist = released / "dist"
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split()
        assert sha256((dist / name).read_bytes()).hexdigest() == digest
    (dist / "SHA256SUMS").unlink()
    assert list(distributions.problems(dist, VERSION)) == []


def test_a_build_can_be_repeated(released: Path, tmp_path: Path) -> None:
    """The same sources make the same bytes, whenever and from whichever folder."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel"]
    environment = {name: value for name, value in os.environ.items() if "EPOCH" not in name}
    subprocess.run(
        [*command, "--outdir", str(tmp_path), str(released / "client")],
        env=environment,
        capture_output=True,
        check=True,
    )
    (again,) = tmp_path.iterdir()
    assert again.read_bytes() == (released / "dist" / again.name).read_bytes()


def test_wheels_that_lack_something_are_not_released(released: Path, tmp_path: Path) -> None:
    """A licence, a bill of materials, the version of the other: each is missed, and named."""
    name = f"classwire-{VERSION}-py3-none-any.whl"
    with (
        zipfile.ZipFile(released / "dist" / name) as whole,
        zipfile.ZipFile(tmp_path / name, "w") as lacking,
    ):
        for file in whole.namelist():
            content = whole.read(file)
            if file.endswith("METADATA"):
                content = content.replace(f"classwire-server=={VERSION}".encode(), b"other")
            if not file.endswith(("LICENSE", ".cdx.json")):
                lacking.writestr(file, content)
        lacking.writestr("tests/stray.py", "")

    found = "\n".join(distributions.problems(tmp_path, VERSION))

    assert f"classwire_server-{VERSION}.tar.gz: was not built" in found
    assert f"does not ask for classwire-server {VERSION}" in found
    assert "licenses/LICENSE" in found
    assert "sboms/classwire.cdx.json" in found
    assert "would install tests" in found


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("next", "is no version"),
        ("1.2", "is not of the form"),
        ("v1.2.3", "is not of the form"),
        ("1.2.3.dev1", "is not of the form"),
        ("0.0.1", "is older than"),
    ],
)
def test_versions_that_cannot_be(version: str, said: str) -> None:
    """What is none, what is written in another way, and what is older than what there is."""
    with pytest.raises(release.Refused, match=said):
        release.check_version(version)
    release.check_version("99.0.0rc1")


def test_what_is_not_committed_is_not_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree must be clean, and something must be new."""
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "CHANGELOG", tmp_path / "CHANGELOG.md")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.1.0] - 2026-01-01\n\n- Old.\n")
    with pytest.raises(release.Refused, match=r"not clean: CHANGELOG\.md"):
        release.check_tree("1.0.0")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "It")
    release.check_tree("1.0.0")
    with pytest.raises(release.Refused, match="nothing under Unreleased"):
        release.unreleased()
