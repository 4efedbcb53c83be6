"""Make a release: check, set the version, build, verify, commit and tag.

python -m scripts.release VERSION [--dry-run] [--skip-tests]

Pushes and uploads nothing. If a step fails, and with --dry-run, the script restores all files;
built distributions stay in dist/.
"""

import argparse
import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .dependencies import version as current_version
from .distributions import checksums, problems
from .pages import ROOT

DIST = ROOT / "dist"
CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"
SET = {
    "client/classwire/_version.py": '__version__ = "{}"',
    "client/pyproject.toml": '"classwire-server=={}"',
    "pyproject.toml": '"classwire=={}"',
}
"""Files that contain the version, and its form in each."""
COMMANDS = ((sys.executable, "-m", "scripts.sbom"), ("scripts/release-contract",))
"""Commands that write the bills of materials and the released contract."""


class ReleaseError(Exception):
    """The release is not possible; the message is one line."""


def release(version: str, *, dry_run: bool, skip_tests: bool) -> None:
    """Make the release of a version. Raises ReleaseError and restores all files."""
    check_version(version)
    check_tree(version)
    notes = unreleased()
    if not skip_tests:
        _step("make", "check", "test", "test-wheels")
    try:
        set_version(version)
        date_changes(version, datetime.datetime.now(datetime.UTC).date())
        for command in COMMANDS:
            _step(*command)
        build(version)
        if not dry_run:
            _git("commit", "--quiet", "--all", "--message", f"Release {version}")
            _git(
                "tag",
                "--cleanup=whitespace",
                "-m",
                f"Classwire {version}\n\n{notes}",
                _tag(version),
            )
    finally:
        print(_git("diff", "--stat"), end="")
        _git("restore", "--staged", "--worktree", ".")


def check_version(version: str) -> None:
    """Raise ReleaseError unless the version has three numbers and is not older than the current."""
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise ReleaseError(f"{version!r} is not a version") from None
    if str(wanted) != version or len(wanted.release) != 3 or wanted.dev is not None:
        raise ReleaseError(f"{version!r} is not of the form 1.2.3, or 1.2.3rc1")
    if wanted < Version(current_version()):
        raise ReleaseError(f"{version} is older than {current_version()}")


def check_tree(version: str) -> None:
    """Raise ReleaseError for uncommitted changes or an existing tag."""
    if changed := _git("status", "--porcelain"):
        raise ReleaseError(f"the tree is not clean: {changed.split()[-1]} and possibly more")
    if _git("tag", "--list", _tag(version)):
        raise ReleaseError(f"the tag {_tag(version)} exists already")


def unreleased() -> str:
    """Return the changelog's notes for the next release."""
    _, heading, rest = CHANGELOG.read_text(encoding="utf-8").partition(UNRELEASED)
    notes = re.split(r"^## \[", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not heading or not notes:
        raise ReleaseError("CHANGELOG.md has nothing under Unreleased")
    return notes


def set_version(version: str) -> None:
    """Write the version into every file that contains it."""
    before = current_version()
    for name, form in SET.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if text.count(form.format(before)) != 1:
            raise ReleaseError(f"{name} does not contain {form.format(before)} exactly once")
        path.write_text(text.replace(form.format(before), form.format(version)), encoding="utf-8")


def date_changes(version: str, today: datetime.date) -> None:
    """Move the unreleased changes into a section of the version."""
    text = CHANGELOG.read_text(encoding="utf-8")
    if f"## [{version}]" in text:
        raise ReleaseError(f"CHANGELOG.md has a section {version} already")
    heading = f"{UNRELEASED}\n## [{version}] - {today.isoformat()}\n"
    CHANGELOG.write_text(text.replace(UNRELEASED, heading, 1), encoding="utf-8")


def build(version: str) -> None:
    """Build both distributions and their checksums into dist/. Raises ReleaseError for problems."""
    shutil.rmtree(DIST, ignore_errors=True)
    for project in ("client", "."):
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), project)
        _step(*command, quiet=True)
    if found := list(problems(DIST, version)):
        raise ReleaseError("; ".join(found))
    (DIST / "SHA256SUMS").write_text(checksums(DIST), encoding="utf-8")


def _tag(version: str) -> str:
    return f"v{version}"


def _step(*command: str, quiet: bool = False) -> None:
    shown = " ".join([Path(command[0]).name, *command[1:]])
    print(f"== {shown}", flush=True)
    stdout = subprocess.PIPE if quiet else None
    ended = subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        print((ended.stdout or b"").decode(errors="replace"), end="")
        raise ReleaseError(f"{shown} failed with exit code {ended.returncode}")


def _git(*arguments: str) -> str:
    command = ("git", *arguments)
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """Make the release and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", help="such as 1.2.3")
    parser.add_argument("--dry-run", action="store_true", help="do not commit or tag")
    parser.add_argument("--skip-tests", action="store_true", help="if CI has passed already")
    given = parser.parse_args()
    try:
        release(given.version, dry_run=given.dry_run, skip_tests=given.skip_tests)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print((DIST / "SHA256SUMS").read_text(encoding="utf-8"), end="")
    if given.dry_run:
        print(f"{given.version} can be released; no file is changed")
    else:
        print(f"{_tag(given.version)} is tagged; next: git push --follow-tags, and publish dist/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
