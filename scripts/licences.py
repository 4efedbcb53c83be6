"""Write docs/project/licences.md: the packages of each installation and their licences.

python -m scripts.licences
"""

import re

from .dependencies import Dependency, runtime
from .pages import ROOT

PAGE = ROOT / "docs" / "project" / "licences.md"
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python"),
    *("ISC", "LLVM-exception", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"),
}
"""Licences that run-time dependencies may have. All allow use and redistribution with programs of
any licence; MPL-2.0 requires publishing changes of its own files.
"""
SECTIONS = {
    "`classwire`": ("classwire", ""),
    "`classwire[parquet]`, in addition": ("classwire", "parquet"),
    "`classwire-server`, in addition": ("classwire-server", ""),
    "`classwire-server[tracing]`, in addition": ("classwire-server", "tracing"),
    "`classwire-server[adapters]`, in addition": ("classwire-server", "adapters"),
}
HEAD = """# Licences

Classwire is [Apache-2.0](../../LICENSE). So is the checkpoint that comes with the server
([its card](../../server/classwire_server/models/stars-en/README.md)). The 500 reviews of
`classwire demo` are in the public domain, CC0 1.0
([where they are from](../../server/classwire_server/cli/demo/LICENSE)). Neither wheel contains code
of other projects.

The tables list the other packages of an installation, in the versions of `requirements.lock`, on
Linux with torch's CPU build. torch's CUDA build brings NVIDIA's libraries, under NVIDIA's own
terms. On other systems a few small packages differ. A test fails on a licence that
`scripts/licences.py` does not allow. Written by `python -m scripts.licences`.
"""


def page() -> str:
    """Return the current page."""
    listed: set[Dependency] = set()
    parts = [HEAD]
    for title, (distribution, extra) in SECTIONS.items():
        further = [each for each in runtime(distribution, extra) if each not in listed]
        listed.update(further)
        parts.append(f"\n## {title}\n\n| package | version | licence |\n|---|---|---|\n")
        parts += [f"| `{each.name}` | {each.version} | {each.licence} |\n" for each in further]
    return "".join(parts)


def disallowed(dependency: Dependency) -> set[str]:
    """Return the licences of a package that are not allowed; all alternatives must be allowed."""
    return set(re.split(r" (?:AND|OR|WITH) |[()]", dependency.licence)) - ALLOWED - {""}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
