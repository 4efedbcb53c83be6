"""Calls made by Node with its own gRPC and messages read from the .proto files."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google.rpc  # type: ignore[import-untyped]
import pytest

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
GOOGLE_PROTOS = Path(google.rpc.__path__[0]).parents[1]
FILES = ("package.json", "package-lock.json", ".npmrc", "call.mjs")
TIMEOUT_S = 60.0


def call(
    method: str, *requests: Any, timeout_s: float = TIMEOUT_S, is_left_open: bool = False
) -> dict[str, Any]:
    """One call with requests in JSON: `call("Classify", {"input": {"text": "good"}})`.

    With `is_left_open` the caller does not half-close: the server ends the call.
    """
    service = "ModelService" if method.startswith(("Get", "List")) else "ClassifyService"
    return {
        "method": f"classwire.v1.{service}/{method}",
        "requests": requests,
        "timeoutS": timeout_s,
        "isLeftOpen": is_left_open,
    }


def outcomes(
    target: str,
    *calls: Mapping[str, Any],
    certificate: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The outcomes of calls that Node makes at the same time: `responses`, `code`, `message`, and
    each detail of an error by its name. Skips the test where Node is not installed.

    `certificate` is the file of the authority to trust, `options` are those of Node's channel.
    """
    order = {
        "target": target,
        "certificate": certificate and str(certificate),
        "folders": [str(PROTOS), str(GOOGLE_PROTOS)],
        "options": options or {},
        "calls": calls,
    }
    ended = subprocess.run(
        ["node", _installed() / "call.mjs"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


@functools.cache
def _installed() -> Path:
    """The folder with the program and its packages, installed once for each version."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    version = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES))
    folder = HERE / "build" / version.hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            for name in FILES:
                shutil.copy(HERE / name, made)
            subprocess.run(["npm", "ci", "--silent"], cwd=made, timeout=TIMEOUT_S, check=True)
            try:
                os.rename(made, folder)
            except OSError:  # another run has installed it
                assert folder.exists()
    return folder
