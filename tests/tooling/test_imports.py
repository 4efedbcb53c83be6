"""Rooms of the server import downwards only, and keep out what does not belong on their floor."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SERVER = Path(__file__).parents[2] / "server" / "classwire_server"

FLOORS = (
    {"errors", "scoring", "aggregates"},
    {"config", "tokenization", "gate"},
    {"checkpoint"},
    {"engine", "security"},
    {"scheduling"},
    {"rpc", "registry"},
    {"service"},
    {"open_inference", "observability"},
    {"registration"},
    {"admin"},
    {"server"},
    {"cli"},
)
"""The rooms and single files of the server, from the ground to the roof. A room may import those of
the floors below it, and nothing of its own floor.
"""

TORCH = (
    "engine/forward",
    "engine/selection",
    "engine/compilation",
    "engine/worker",
    "cli/doctor/machine.py",
)
"""Where torch may be imported."""

GRPC = (
    "rpc",
    "service",
    "open_inference",
    "observability",
    "registration.py",
    "admin",
    "server.py",
    "cli",
    "security/certificates.py",
)
"""Where grpcio may be imported."""

OWN_FLOOR = {"__init__"}
"""Its version, which all may read."""


class Import(NamedTuple):
    """One imported module, by its full name, and the line of the server's code that imports it."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports(folder: Path) -> Iterator[Import]:
    """Every import in a folder: those within functions and for type checkers, too."""
    for path in sorted(folder.rglob("*.py")):
        if "_pb2" in path.name:
            continue
        file = path.relative_to(folder)
        package = ["classwire_server", *file.parent.parts]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, str(file), node.lineno)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    yield Import(f"{module}.{alias.name}", str(file), node.lineno)


def room_of(file: str) -> str:
    """The room, or the single file, that a file is in."""
    return Path(file).parts[0].removesuffix(".py")


def upward(folder: Path, floors: tuple[set[str], ...] = FLOORS) -> list[str]:
    """Imports of a room on the same floor or on one above."""
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    found = []
    for each in imports(folder):
        if not each.module.startswith("classwire_server."):
            continue
        room, target = room_of(each.file), each.module.split(".")[1]
        if room in OWN_FLOOR or target == "__version__" or room == target:
            continue
        if floor[target] >= floor[room]:
            found.append(str(each))
    return found


def circles(folder: Path) -> list[str]:
    """Files that import each other, directly or through others."""
    files = {
        ".".join(["classwire_server", *path.relative_to(folder).with_suffix("").parts])
        for path in folder.rglob("*.py")
    }
    edges: dict[str, set[str]] = {file: set() for file in files}
    for each in imports(folder):
        source = ".".join(["classwire_server", *Path(each.file).with_suffix("").parts])
        module = each.module
        for target in (module, module.rpartition(".")[0]):
            for candidate in (target, f"{target}.__init__"):
                if candidate in files and candidate != source:
                    edges[source].add(candidate)
    reached: dict[str, set[str]] = {}
    for file in files:
        seen, left = set(), list(edges[file])
        while left:
            one = left.pop()
            if one not in seen:
                seen.add(one)
                left += edges[one]
        reached[file] = seen
    return sorted(file for file in files if file in reached[file])


def outside(folder: Path, packages: tuple[str, ...], places: tuple[str, ...]) -> list[str]:
    """Imports of these packages outside of these places."""
    return [
        str(each)
        for each in imports(folder)
        if each.module.split(".")[0] in packages
        and not any(each.file == place or each.file.startswith(f"{place}/") for place in places)
    ]


def test_no_room_imports_upwards() -> None:
    """Each room imports rooms below it; the test names the line that does not."""
    assert upward(SERVER) == []


def test_no_file_imports_itself_through_others() -> None:
    """No circle of files, however long."""
    assert circles(SERVER) == []


def test_torch_stays_in_the_engine() -> None:
    """Only what runs a model, and the doctor's look at the machine, import torch."""
    assert outside(SERVER, ("torch",), TORCH) == []


def test_grpc_stays_above_the_scheduler() -> None:
    """No room below rpc imports grpcio, but for the certificates of the port."""
    assert outside(SERVER, ("grpc", "grpc_status", "grpc_health", "grpc_reflection"), GRPC) == []


def test_the_server_uses_the_clients_public_names() -> None:
    """No private module of the client's distribution is imported."""
    private = [
        str(each)
        for each in imports(SERVER)
        if each.module.startswith("classwire.")
        and any(part.startswith("_") and part != "__version__" for part in each.module.split("."))
    ]
    assert private == []


def test_every_room_has_a_floor() -> None:
    """A new file or folder on the top level has a place in the order above."""
    found = {path.stem for path in SERVER.glob("*.py") if path.stem != "__init__"}
    found |= {path.parent.name for path in SERVER.glob("*/__init__.py")}
    assert found == set.union(*FLOORS)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("from classwire_server.config import a", "errors.py:1"),
        ("import classwire_server.config", "errors.py:1"),
        ("from .config import a", "errors.py:1"),
        ("def f() -> None:\n    from classwire_server.config import a", "errors.py:2"),
    ],
)
def test_the_rule_sees_every_form_of_import(tmp_path: Path, line: str, named: str) -> None:
    """An upward import is found, and named by file and line, in whatever form it is written."""
    (tmp_path / "errors.py").write_text(line)
    assert upward(tmp_path, ({"errors"}, {"config"}))[0].startswith(named)


def test_the_rule_sees_circles(tmp_path: Path) -> None:
    """Two files that import each other are found."""
    (tmp_path / "errors.py").write_text("from .config import a")
    (tmp_path / "config.py").write_text("from .errors import b")
    assert circles(tmp_path) == ["classwire_server.config", "classwire_server.errors"]
