"""The two distributions of the checkout fit together."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from classwire import __version__

ROOT = Path(__file__).parents[2]
CLIENT = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_both_have_one_version_and_ask_for_each_other_at_it() -> None:
    """Server and client have one version, and require each other at exactly that version."""
    assert f"classwire=={__version__}" in SERVER["dependencies"]
    assert CLIENT["optional-dependencies"]["server"] == [f"classwire-server=={__version__}"]
    assert importlib.metadata.version("classwire") == __version__
    assert importlib.metadata.version("classwire-server") == __version__


def test_ranges_that_both_state_fit() -> None:
    """Both distributions give a shared dependency the same range, so that they install together.

    For gRPC the server may require a newer release, since only the server reads requests of
    strangers.
    """
    client = {needed.name: needed.specifier for needed in map(Requirement, CLIENT["dependencies"])}
    server = {needed.name: needed.specifier for needed in map(Requirement, SERVER["dependencies"])}

    shared = client.keys() & server.keys()

    assert {"grpcio", "protobuf"} <= shared
    assert {name for name in shared if client[name] != server[name]} <= {"grpcio"}
    oldest = next(bound.version for bound in server["grpcio"] if bound.operator == ">=")
    assert client["grpcio"].contains(oldest)


def test_the_page_of_versions_states_the_lower_bounds() -> None:
    """docs/project/versioning.md states the lower bound of each library that it lists."""
    page = (ROOT / "docs/project/versioning.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| ([a-z]+) \| ([0-9.]+) \| ", page, re.MULTILINE))

    assert {"torch", "transformers", "grpcio"} <= stated.keys()
    for needed in map(Requirement, SERVER["dependencies"]):
        if needed.name in stated:
            assert f">={stated.pop(needed.name)}" in map(str, needed.specifier)
    assert stated == {}


def test_client_needs_no_torch() -> None:
    """The client's dependencies are few, and torch is none of them."""
    heavy = {"torch", "transformers", "numpy", "classwire-server"}

    assert heavy.isdisjoint(Requirement(line).name for line in CLIENT["dependencies"])


def test_license_travels_with_both() -> None:
    """The client holds the same licence text as the root, which its package can't include."""
    assert (ROOT / "client/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("name", ["classwire", "classwire-server"])
def test_lock_pins_every_dependency(name: str) -> None:
    """The lock pins each dependency to a version within the distribution's range; Ray is pinned for
    its own environment.
    """
    locked = {
        canonicalize_name(pin.name): pin
        for pin in map(
            Requirement, (*pins("requirements.lock"), *pins("tests/ray/requirements.txt"))
        )
        if pin.marker is None or pin.marker.evaluate()
    }
    assert all(str(pin.specifier).startswith("==") for pin in locked.values())

    for line in importlib.metadata.requires(name) or []:
        needed = Requirement(line)
        pin = locked.get(canonicalize_name(needed.name))
        if not needed.name.startswith("classwire"):
            assert pin is not None, f"{line} is not locked: run `make lock`"
            assert needed.specifier.contains(str(pin.specifier).removeprefix("=="))


def pins(file: str) -> list[str]:
    """Return a file's pins, without comments."""
    lines = (ROOT / file).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
