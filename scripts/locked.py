"""Check that both packages' dependencies are installed in the versions of requirements.lock.

    python -m scripts.locked EXTRA[,EXTRA ...]

Covers direct and indirect requirements of the client, and of the server with the named extras.
Prints each package that is missing from the lock or has another version, and exits with 1 if there
is any.
"""

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Mapping

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .dependencies import OF_THE_CUDA_BUILD, OWN
from .pages import ROOT

LOCK = ROOT / "requirements.lock"


def pins(lines: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that the lock names for this platform and Python."""
    named = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in named
        if each.marker is None or each.marker.evaluate()
    }


def needed(roots: Iterable[str]) -> dict[str, str | None]:
    """Return the installed version of direct and indirect requirements; `None`: not installed.

    Includes the roots.
    """
    found: dict[str, str | None] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
                continue
            waiting += _stated(name, extra)
    return found


def _stated(name: str, extra: str) -> Iterator[Requirement]:
    """Yield an installed package's requirements on this platform, for an extra or (`""`) none."""
    for requirement in map(Requirement, importlib.metadata.requires(name) or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def problems(locked: Mapping[str, str], installed: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a line for each installed package that the lock does not name in that version.

    A build (`+cpu`) counts as its release. The packages of this repository and those of torch's
    CUDA build are exempt.
    """
    for name, version in sorted(installed.items()):
        if name in OWN or name.startswith(OF_THE_CUDA_BUILD):
            continue
        if name not in locked:
            yield f"{name} {version or '(not installed)'}: requirements.lock does not name it"
        elif version is None or Version(version).public != Version(locked[name]).public:
            yield f"{name} {version or '(not installed)'}: requirements.lock names {locked[name]}"


def main() -> int:
    """Print the problems and return the exit status."""
    locked = pins(LOCK.read_text(encoding="utf-8").splitlines())
    found = list(problems(locked, needed(["classwire", f"classwire-server[{sys.argv[1]}]"])))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
