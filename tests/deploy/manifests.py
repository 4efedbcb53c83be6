"""The files of deploy/, parsed for the tests."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import resolve

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
BASE = DEPLOY / "kubernetes" / "base"
OWN_MODEL = DEPLOY / "kubernetes" / "examples" / "own-model"
KSERVE = DEPLOY / "kserve"

Manifest = dict[str, Any]

NO_CLUSTER = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:0"}}],
}
"""A kubectl configuration whose cluster rejects every connection at once."""


def read(path: Path) -> Manifest:
    """Return the single document of a file."""
    manifest: Manifest = yaml.safe_load(path.read_text("utf-8"))
    return manifest


@functools.cache
def render(folder: Path) -> dict[str, Manifest]:
    """Return what the real kustomize renders from a folder, by kind; skip the test without
    kustomize.
    """
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, which renders kustomizations")
    # Google's kubectl delegates to the version of the cluster that HOME names or remembers, or of
    # whatever listens on port 8080. No cluster affects the rendering.
    with tempfile.TemporaryDirectory() as home:
        config = Path(home, "config")
        config.write_text(yaml.safe_dump(NO_CLUSTER), "utf-8")
        rendered = subprocess.run(
            ["kubectl", "kustomize", str(folder)],
            env=os.environ | {"HOME": home, "KUBECONFIG": str(config)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert rendered.returncode == 0, rendered.stderr
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(rendered.stdout)}


@functools.cache
def instructions() -> dict[str, list[tuple[str, str]]]:
    """Return the Dockerfile's instructions with their arguments, by stage."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    stages: dict[str, list[tuple[str, str]]] = {}
    stage = ""
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        word, _, rest = line.partition(" ")
        stage = rest.rpartition(" ")[2] if word == "FROM" else stage
        stages.setdefault(stage, []).append((word, rest))
    return stages


def instruction(word: str, stage: str = "runtime") -> str:
    """Return the arguments of a stage's only instruction of a kind; the default is the common
    stage.
    """
    (found,) = (rest for each, rest in instructions()[stage] if each == word)
    return found


def image_variables() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(item.split("=", 1) for item in instruction("ENV").split())


def settings_of(variables: dict[str, str], arguments: list[str]) -> ServerConfig:
    """Return the settings of a server in the image, given more variables and flags.

    Raises ConfigError for settings that the server would reject.
    """
    known = ServerConfig.__dataclass_fields__
    names = {f"CLASSWIRE_{name.upper()}" for name in known} | {"CLASSWIRE_TARGET"}
    environment = {**image_variables(), **variables}
    assert {name for name in environment if name.startswith("CLASSWIRE_")} <= names
    flags: dict[str, Any] = {}
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        flags[name.replace("-", "_")] = (value,) if name == "model" else True
    assert flags.keys() <= known.keys()
    return resolve(flags, environment, None)


def probes(container: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Return the probes of a container by purpose."""
    for purpose in ("startup", "readiness", "liveness"):
        yield purpose, container[f"{purpose}Probe"]
