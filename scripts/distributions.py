"""Checks of built distributions before a release."""

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

OTHER = {"classwire": "classwire-server", "classwire-server": "classwire"}
MUST_HOLD = {
    "classwire": ("classwire/py.typed", "classwire/v1/classwire_pb2.pyi"),
    "classwire-server": (
        "classwire_server/py.typed",
        "classwire_server/engine/compilation/compiled_runner.cpp",
        "classwire_server/models/stars-en/LICENSE",
        "classwire_server/models/stars-en/model.safetensors",
    ),
}
"""Files that a wheel must contain; a build without them would not fail."""


def problems(folder: Path, version: str) -> Iterator[str]:
    """Yield each problem of a version's wheels and source distributions in a folder."""
    wanted = {}
    for name in OTHER:
        stem = f"{name.replace('-', '_')}-{version}"
        wanted[f"{stem}-py3-none-any.whl"] = _wheel_problems, name, stem
        wanted[f"{stem}.tar.gz"] = _sdist_problems, name, stem
    found = {path.name for path in folder.iterdir()}
    for file in sorted(found ^ wanted.keys()):
        yield f"{file}: {'does not belong to this release' if file in found else 'was not built'}"
    for file in sorted(found & wanted.keys()):
        look, name, stem = wanted[file]
        for problem in look(folder / file, name, stem, version):
            yield f"{file}: {problem}"


def checksums(folder: Path) -> str:
    """Return the SHA-256 of each file, in the format of sha256sum."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)


def _wheel_problems(path: Path, name: str, stem: str, version: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as wheel:
        files = set(wheel.namelist())
        info = f"{stem}.dist-info"
        bill = f"{info}/sboms/{name}.cdx.json"
        yield from _metadata_problems(wheel.read(f"{info}/METADATA"), name, version)
        for file in (*MUST_HOLD[name], f"{info}/licenses/LICENSE", bill):
            if file not in files:
                yield f"has no {file}"
        if bill in files:
            yield from _bill_problems(wheel.read(bill), version)
        for folder in {file.partition("/")[0] for file in files}:
            if folder not in (name.replace("-", "_"), info):
                yield f"would install {folder}"


def _sdist_problems(path: Path, name: str, stem: str, version: str) -> Iterator[str]:
    with tarfile.open(path) as sdist:
        files = set(sdist.getnames())
        stated = sdist.extractfile(f"{stem}/PKG-INFO")
        assert stated is not None
        yield from _metadata_problems(stated.read(), name, version)
        for file in ("LICENSE", "pyproject.toml"):
            if f"{stem}/{file}" not in files:
                yield f"has no {file}"


def _metadata_problems(metadata: bytes, name: str, version: str) -> Iterator[str]:
    stated = message_from_bytes(metadata)
    if (stated["Name"], stated["Version"]) != (name, version):
        yield f"is {stated['Name']} {stated['Version']}"
    if stated["License-Expression"] != "Apache-2.0":
        yield "states no licence"
    needed = [line.partition(";")[0].strip() for line in stated.get_all("Requires-Dist") or []]
    if f"{OTHER[name]}=={version}" not in needed:
        yield f"does not require {OTHER[name]} {version}"


def _bill_problems(bill: bytes, version: str) -> Iterator[str]:
    stated = json.loads(bill)["metadata"]["component"]["version"]
    if stated != version:
        yield f"its bill of materials is for {stated}"
