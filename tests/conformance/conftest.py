"""Fixtures: the kit's servers, vectors and stubs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.languages import VECTORS, Language
from conformance.servers import running
from tests.workers import launch_in_process


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """Return vectors.json."""
    document: dict[str, Any] = json.loads(VECTORS.read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, str]]:
    """Return the targets of the kit's servers, with all models in one process.

    They end with the module, since later tests would take their open streams for leftovers.
    """
    with running(launch_in_process) as targets:
        yield targets


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python runner's stubs."""
    folder = tmp_path_factory.mktemp("runner")
    python = Language("python")
    python.build(python.runner, folder, folder / "log")
    return folder
