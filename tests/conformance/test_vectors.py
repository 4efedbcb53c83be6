"""The Python runner runs the vectors against the kit's servers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.corruption import corrupted
from conformance.languages import VECTORS, Language
from conformance.runs import run

RUNNER = Language("python").runner


def test_every_vector_passes(
    vectors: Mapping[str, Any], targets: Mapping[str, str], built: Path
) -> None:
    """The server passes every vector; the vectors are made without it."""
    found = run(RUNNER, built, VECTORS, vectors, targets, built / "log")

    assert not found.failures
    assert not found.defects
    assert sum(found.passed.values()) == sum(len(g["vectors"]) for g in vectors["groups"])


def test_corrupted_vectors_fail(
    vectors: Mapping[str, Any], targets: Mapping[str, str], built: Path, tmp_path: Path
) -> None:
    """The runner finds a wrong score and a wrong reason, by name, and nothing else.

    It reports groups as skipped when their server is not there.
    """
    names = ("classify", "errors", "faults")
    groups = [group for group in vectors["groups"] if group["name"] in names]
    document, wrong = corrupted({**vectors, "groups": groups})
    file = tmp_path / "corrupted.json"
    file.write_text(json.dumps(document), "utf-8")
    serving = {"serving": targets["serving"]}

    found = run(RUNNER, built, file, document, serving, tmp_path / "log")

    assert found.names == wrong
    assert len(found.failures) == len(wrong) == 2
    assert not found.defects
    assert not any(key == "faults" for key in found.passed)
    said = (tmp_path / "log").read_text("utf-8").splitlines()
    skipped = len(groups[-1]["vectors"])
    assert f"group faults: 0 passed, 0 failed, {skipped} skipped" in said
    passed = sum(found.passed.values())
    assert said[-2:] == [f"{passed} passed, 2 failed, {skipped} skipped", "= 1"]
