"""Make a release: check, set the version, build, verify, commit and tag.

python -m scripts.release VERSION [--dry-run] [--skip-tests]

Nothing leaves the machine. Where a step fails, and with --dry-run, the files are as they were
before; what was built lies in dist/.
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
"""Where the version stands, and how."""
COMMANDS = ((sys.executable, "-m", "scripts.sbom"), ("scripts/release-contract",))
"""What writes down the rest of what is released."""


class Refused(Exception):
    """There can be no such release; the text is one line for people."""


def release(version: str, *, dry_run: bool, skip_tests: bool) -> None:
    """Make the release of a version. Raises Refused, with no file changed."""
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
    """Refuse what is no version of three numbers, or older than what there is."""
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise Refused(f"{version!r} is no version") from None
    if str(wanted) != version or len(wanted.release) != 3 or wanted.dev is not None:
        raise Refused(f"{version!r} is not of the form 1.2.3, or 1.2.3rc1")
    if wanted < Version(current_version()):
        raise Refused(f"{version} is older than {current_version()}")


def check_tree(version: str) -> None:
    """Refuse to release what is not committed, or a second time."""
    if changed := _git("status", "--porcelain"):
        raise Refused(f"the tree is not clean: {changed.split()[-1]} and perhaps more")
    if _git("tag", "--list", _tag(version)):
        raise Refused(f"there is a tag {_tag(version)} already")


def unreleased() -> str:
    """What the changelog says of the next release."""
    _, heading, rest = CHANGELOG.read_text(encoding="utf-8").partition(UNRELEASED)
    notes = re.split(r"^## \[", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not heading or not notes:
        raise Refused("CHANGELOG.md has nothing under Unreleased")
    return notes


def set_version(version: str) -> None:
    """Write the version wherever it stands."""
    before = current_version()
    for name, form in SET.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if text.count(form.format(before)) != 1:
            raise Refused(f"{name} does not say {form.format(before)} once")
        path.write_text(text.replace(form.format(before), form.format(version)), encoding="utf-8")


def date_changes(version: str, today: datetime.date) -> None:
    """Turn what is unreleased into the version's own section."""
    text = CHANGELOG.read_text(encoding="utf-8")
    if f"## [{version}]" in text:
        raise Refused(f"CHANGELOG.md has a section of {version} already")
    heading = f"{UNRELEASED}\n## [{version}] - {today.isoformat()}\n"
    CHANGELOG.write_text(text.replace(UNRELEASED, heading, 1), encoding="utf-8")


def build(version: str) -> None:
    """Build both distributions into dist/, with their checksums. Raises Refused for bad ones."""
    shutil.rmtree(DIST, ignore_errors=True)
    for project in ("client", "."):
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), project)
        _step(*command, quiet=True)
    if found := list(problems(DIST, version)):
        raise Refused("; ".join(found))
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
        raise Refused(f"{shown} failed with exit code {ended.returncode}")


def _git(*arguments: str) -> str:
    command = ("git", *arguments)
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """Make the release that the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", help="as 1.2.3")
    parser.add_argument("--dry-run", action="store_true", help="neither commit nor tag")
    parser.add_argument("--skip-tests", action="store_true", help="for what CI has passed already")
    given = parser.parse_args()
    try:
        release(given.version, dry_run=given.dry_run, skip_tests=given.skip_tests)
    except Refused as refusal:
        print(f"release: {refusal}", file=sys.stderr)
        return 1
    print((DIST / "SHA256SUMS").read_text(encoding="utf-8"), end="")
    if given.dry_run:
        print(f"{given.version} could be released; nothing is changed")
    else:
        print(f"{_tag(given.version)} is tagged; git push --follow-tags and dist/ are left to you")
    return 0


if __name__ == "__main__":
    sys.exit(main())
