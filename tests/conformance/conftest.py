"""The kit's servers, and its vectors as they lie in the repository."""

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
    """vectors.json."""
    document: dict[str, Any] = json.loads(VECTORS.read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, str]]:
    """Where the kit's servers are; six models need no six processes here. Their streams and calls
    that never end would be seen by tests that look for what is left.
    """
    with running(launch_in_process) as targets:
        yield targets


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python runner's stubs."""
    folder = tmp_path_factory.mktemp("runner")
    python = Language("python")
    python.build(python.runner, folder, folder / "log")
    return folder
