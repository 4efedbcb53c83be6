"""Reports machine paths, registry hosts and secrets in committed and uncommitted files.

Reads every file of the working directory's git repository that git does not ignore. Prints each
finding as `path:line: what` (never the secret itself) and exits with 1 if there is any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = {
    "a path of one machine": re.compile(
        rb"(?<![\w.~-])/(?:home|Users|root|work)/[\w.]|\b[A-Z]:\\{1,2}Users\\"
    ),
    "the host of a package registry": re.compile(
        rb"\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs\.org"
        rb"|registry\.yarnpkg\.com|deb\.debian\.org|proxy\.golang\.org|repo1?\.maven\.|crates\.io)"
    ),
    "the address of a package index": re.compile(
        rb"(?i)(?:index[-_]url|find[-_]links|trusted[-_]host)[ =]+[\"']?(?:\w+:/)?/\w"
    ),
    "a dependency that is not fetched by name": re.compile(
        rb"(?m)^[\w.\[\]-]+ @ (?:file|https?|git\+\w+):"
    ),
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an access token": re.compile(
        rb"\b(?:hf_[A-Za-z0-9]{30,}|gh[opsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|pypi-AgE[\w-]{30,}"
        rb"|npm_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|xox[abp]-[\w-]{20,}|sk-[\w-]{30,})"
    ),
    "credentials in an address": re.compile(rb"://[^\s/:@'\"{}<>$]+:[^\s/:@'\"{}<>$]+@"),
}


def findings(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the line number, from 1, and the kind of each finding in a file.

    Args:
        path: The file; for a link, its target is checked, as git stores it.
    """
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    for what, pattern in FORBIDDEN.items():
        for match in pattern.finditer(content):
            yield content.count(b"\n", 0, match.start()) + 1, what


def main() -> int:
    """Prints the findings in the repository and returns the exit status."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    # git lists files whose deletion is not committed yet.
    paths = [Path(name) for name in dict.fromkeys(listed.stdout.decode().split("\0")) if name]
    found = [
        f"{path}:{line}: {what}"
        for path in paths
        if path.is_symlink() or path.is_file()
        for line, what in sorted(findings(path))
    ]
    print("\n".join(found) or f"{len(paths)} files: no machine path, registry host or secret")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
