"""Versions of the libraries of a language's runner, for the published table."""

import importlib.metadata
import json
from pathlib import Path

from .languages import Language, installed_version

PYTHON = ("grpcio", "protobuf")


def versions(language: Language) -> str:
    """Return the versions of its libraries, from pip, npm or Debian."""
    if language.name == "python":
        found = {name: importlib.metadata.version(name) for name in PYTHON}
    elif (language.runner / "package-lock.json").exists():
        found = _of_npm(language.runner)
    else:
        packages = (language.runner / "packages").read_text("utf-8").splitlines()
        names = [line.split()[0] for line in packages]
        found = {name: installed_version(name) for name in names if "grpc" in name}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _of_npm(folder: Path) -> dict[str, str]:
    names = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    lock = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    return {name: lock[f"node_modules/{name}"]["version"] for name in names}
