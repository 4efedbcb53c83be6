"""Licences and bills of materials of the distributions, and where code may unpickle."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from scripts import licences, sbom
from scripts.dependencies import OWN, Dependency, project, runtime

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "client/classwire", ROOT / "server/classwire_server")
UNPICKLERS = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
BETWEEN_OUR_PROCESSES = {
    "engine/compilation/process.py",
    "engine/worker/fork_server.py",
    "engine/worker/forking.py",
    "engine/worker/protocol.py",
    "engine/worker/wire.py",
}
"""Modules that talk to processes which the server itself started: docs/guides/security.md."""


def test_the_page_of_licences_is_up_to_date() -> None:
    """docs/project/licences.md lists the installed dependencies."""
    assert licences.PAGE.read_text("utf-8") == licences.page(), "run: python -m scripts.licences"


@pytest.mark.parametrize(
    ("distribution", "extra", "named"),
    [
        ("classwire", "parquet", "pyarrow"),
        ("classwire-server", "", "torch"),
        ("classwire-server", "adapters", "peft"),
        ("classwire-server", "tracing", "opentelemetry-sdk"),
    ],
)
def test_every_licence_is_allowed(distribution: str, extra: str, named: str) -> None:
    """Every dependency has a licence of the allowed list."""
    needed = runtime(distribution, extra)
    assert named in {each.name for each in needed}
    assert {
        each.name: licences.disallowed(each) for each in needed if licences.disallowed(each)
    } == {}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", set()),
        ("(MIT OR Apache-2.0) AND Zlib", set()),
        ("Apache-2.0 WITH LLVM-exception", set()),
        ("MIT AND GPL-3.0-only", {"GPL-3.0-only"}),
        ("unknown", {"unknown"}),
    ],
)
def test_disallowed_licences(licence: str, expected: set[str]) -> None:
    """Every part of an expression is checked; a missing licence is not allowed."""
    assert licences.disallowed(Dependency("some", "1", licence, ())) == expected


@pytest.mark.parametrize("name", sorted(sbom.FILES))
def test_bills_of_materials_are_up_to_date(name: str) -> None:
    """Each bill lists the lock's environment, all stated dependencies, and is valid CycloneDX."""
    text = sbom.FILES[name].read_text("utf-8")
    assert text == sbom.sbom(name), "run: python -m scripts.sbom"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said = json.loads(text)
    listed = {component["name"]: component["version"] for component in said["components"]}
    stated = {Requirement(line).name for line in project(name)["dependencies"]}
    assert stated <= listed.keys()
    for component in runtime(name):
        assert listed[component.name] == component.version
    assert ("stars-en" in listed) == (name == "classwire-server")


def test_wheels_carry_their_bill() -> None:
    """Wheels hold their bill in `.dist-info/sboms/`, and source distributions hold it, too."""
    for name, path in OWN.items():
        assert sbom.FILES[name].name in path.read_text("utf-8").partition("sbom-files")[2]


def test_only_messages_of_our_own_processes_are_unpickled() -> None:
    """Only messages of the server's own processes are unpickled, never a checkpoint or a
    request.

    transformers calls torch's weights-only loader, which loads tensors alone.
    """
    found = [
        f"{path.relative_to(folder)}:{line}: {what}"
        for folder in SOURCES
        for path in sorted(folder.rglob("*.py"))
        if path.relative_to(folder).as_posix() not in BETWEEN_OUR_PROCESSES
        for line, what in unpicklings(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
        "connection.recv()",
    ],
)
def test_unpickling_is_recognised(source: str) -> None:
    """The check finds each way to load a pickle of the installed libraries."""
    assert list(unpicklings(source))


def unpicklings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines, from 1, that load a pickle or could, with the name of the call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in (*named, getattr(node, "module", None) or ""):
                if name.partition(".")[0] in UNPICKLERS:
                    yield node.lineno, f"imports {name}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "torch.load":
                yield node.lineno, called
            if called.endswith(".recv") and not node.args:  # multiprocessing's `recv` unpickles
                yield node.lineno, called
            for keyword in node.keywords:
                said = (keyword.arg, ast.unparse(keyword.value))
                if said in (("weights_only", "False"), ("allow_pickle", "True")):
                    yield node.lineno, f"{said[0]}={said[1]}"
