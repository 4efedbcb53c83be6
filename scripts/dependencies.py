"""A distribution's run-time dependencies and their licences, from installed metadata."""

import importlib.metadata
import runpy
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .pages import ROOT

OWN = {"classwire": ROOT / "client/pyproject.toml", "classwire-server": ROOT / "pyproject.toml"}
"""Classwire's distributions, and the project file of each."""
OF_THE_CUDA_BUILD = ("cuda-", "nvidia-", "triton")
"""Prefixes of packages that only torch's CUDA build requires; the lock leaves them out."""
LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""The environment for which markers are evaluated, on every machine."""

SPDX_OF = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "ISC License": "ISC",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""SPDX identifiers of licences that packages state in other words."""


@dataclass(frozen=True)
class Dependency:
    """An installed package.

    `version` has no local build label, `licence` is an SPDX expression where known, `needs` are the
    names of its own dependencies.
    """

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]


def runtime(distribution: str, extra: str = "") -> list[Dependency]:
    """Return direct and indirect dependencies, by name, without Classwire's own packages."""
    found: dict[str, Dependency] = {}
    waiting = list(needs(distribution, extra))
    seen = {distribution}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        further = tuple(needs(name))
        waiting += further
        if name not in OWN:
            metadata = importlib.metadata.metadata(name)
            version = metadata["Version"].partition("+")[0]
            found[name] = Dependency(name, version, licence(metadata), further)
    return [found[name] for name in sorted(found)]


def needs(distribution: str, extra: str = "") -> Iterator[str]:
    """Yield the names of a distribution's direct dependencies in the environment `LINUX`."""
    environment = LINUX | {"extra": extra}
    for line in _stated(distribution, extra):
        needed = Requirement(line)
        name = canonicalize_name(needed.name)
        if name.startswith(OF_THE_CUDA_BUILD):
            continue
        if needed.marker is None or needed.marker.evaluate(environment):
            yield name


def project(distribution: str) -> dict[str, Any]:
    """Return the `project` table of a pyproject.toml; installed metadata may be older."""
    said: dict[str, Any] = tomllib.loads(OWN[distribution].read_text(encoding="utf-8"))["project"]
    return said


def version() -> str:
    """Return the version of Classwire's distributions."""
    said: str = runpy.run_path(str(ROOT / "client/classwire/_version.py"))["__version__"]
    return said


def _stated(distribution: str, extra: str) -> list[str]:
    if distribution not in OWN:
        return importlib.metadata.requires(distribution) or []
    said = project(distribution)
    further: list[str] = said["optional-dependencies"][extra] if extra else []
    return [*said["dependencies"], *further]


def licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the licence that a package states, or "unknown"."""
    said = metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    stated = str(said.get("license", ""))
    if stated and len(stated) < 40:  # some packages put the whole text there
        return SPDX_OF.get(stated, stated)
    classifiers = said.get("classifier", [])
    known = [SPDX_OF[each] for each in classifiers if each in SPDX_OF]
    return " AND ".join(known) or "unknown"
