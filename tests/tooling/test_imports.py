"""Packages import only lower layers, and the server torch and grpcio only where allowed."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import classwire_server.engine

SERVER = Path(__file__).parents[2] / "server" / "classwire_server"
CLIENT = Path(__file__).parents[2] / "client" / "classwire"

LAYERS = (
    {"errors", "scoring", "aggregates", "windows"},
    {"config", "tokenization", "gate"},
    {"checkpoint"},
    {"engine", "security"},
    {"scheduling"},
    {"rpc", "registry"},
    {"service"},
    {"open_inference", "observability"},
    {"registration"},
    {"admin"},
    {"server", "ray"},
    {"cli"},
)
"""The server's packages and top-level modules, lowest layer first. A package may import the
packages of lower layers, and none of its own layer.
"""

CLIENT_LAYERS = ("contract", "results", "_calls", "_connection", "_streaming", "_drop_ins", "cli")
"""The client's packages, lowest layer first."""

ENGINE_LAYERS = (
    {"cgroup", "latency_profile", "packing", "stages"},
    {"cores"},
    {"forward"},
    {"compilation"},
    {"selection"},
    {"worker"},
)
"""The packages and modules of the engine, as in LAYERS."""

TORCH_PLACES = (
    "engine/forward",
    "engine/selection",
    "engine/compilation",
    "engine/worker",
    "cli/doctor/machine.py",
)
"""Files and folders that may import torch."""

GRPC_PLACES = (
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
"""Files and folders that may import grpcio."""

EXEMPT = {"__init__"}
"""Top-level modules without a layer, which may import any package."""


class Import(NamedTuple):
    """One imported module by its full name, with the file and line of the import."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports(folder: Path, package: str = "classwire_server") -> Iterator[Import]:
    """Yield every import of a package's folder, also those in functions and under TYPE_CHECKING."""
    for path in sorted(folder.rglob("*.py")):
        if "_pb2" in path.name:
            continue
        file = path.relative_to(folder)
        parents = [*package.split("."), *file.parent.parts]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, str(file), node.lineno)
            elif isinstance(node, ast.ImportFrom):
                base = parents[: len(parents) - node.level + 1] if node.level else []
                module = ".".join([*base, *filter(None, [node.module])])
                for alias in node.names:
                    yield Import(f"{module}.{alias.name}", str(file), node.lineno)


def package_of(file: str) -> str:
    """Return the top-level package or module of a file."""
    return Path(file).parts[0].removesuffix(".py")


def upward(
    folder: Path,
    layers: tuple[set[str], ...] = LAYERS,
    package: str = "classwire_server",
    own_names: Container[str] = ("__version__",),
) -> list[str]:
    """Return the imports of a package in the same or a higher layer.

    `own_names` are those that `package` itself defines, in no layer.
    """
    height = {part: number for number, parts in enumerate(layers) for part in parts}
    found = []
    for each in imports(folder, package):
        if not each.module.startswith(f"{package}."):
            continue
        part, target = package_of(each.file), each.module.removeprefix(f"{package}.").split(".")[0]
        if part in EXEMPT or target in own_names or part == target:
            continue
        if height[target] >= height[part]:
            found.append(str(each))
    return found


def circular(folder: Path) -> list[str]:
    """Return the files that import each other, directly or through others."""
    files = {
        ".".join(["classwire_server", *path.relative_to(folder).with_suffix("").parts])
        for path in folder.rglob("*.py")
    }
    imported: dict[str, set[str]] = {file: set() for file in files}
    for each in imports(folder):
        source = ".".join(["classwire_server", *Path(each.file).with_suffix("").parts])
        module = each.module
        for target in (module, module.rpartition(".")[0]):
            for candidate in (target, f"{target}.__init__"):
                if candidate in files and candidate != source:
                    imported[source].add(candidate)
    reached: dict[str, set[str]] = {}
    for file in files:
        visited, pending = set(), list(imported[file])
        while pending:
            current = pending.pop()
            if current not in visited:
                visited.add(current)
                pending += imported[current]
        reached[file] = visited
    return sorted(file for file in files if file in reached[file])


def outside(folder: Path, packages: tuple[str, ...], places: tuple[str, ...]) -> list[str]:
    """Return the imports of these distributions outside of the allowed places."""
    return [
        str(each)
        for each in imports(folder)
        if each.module.split(".")[0] in packages
        and not any(each.file == place or each.file.startswith(f"{place}/") for place in places)
    ]


def test_no_package_imports_upwards() -> None:
    """Each package imports only packages of lower layers; the failure names file and line."""
    assert upward(SERVER) == []


@pytest.mark.parametrize("package", CLIENT_LAYERS)
def test_no_package_of_the_client_imports_upwards(package: str) -> None:
    """Each package of the client imports only packages of lower layers."""
    higher = set(CLIENT_LAYERS[CLIENT_LAYERS.index(package) + 1 :])
    assert [
        str(each)
        for each in imports(CLIENT / package)
        if higher.intersection(each.module.split("."))
    ] == []


def test_no_part_of_the_engine_imports_upwards() -> None:
    """Each package of the engine imports only lower ones: no two import each other."""
    engine = classwire_server.engine
    own_names = vars(engine).keys() - set.union(*ENGINE_LAYERS)
    assert upward(SERVER / "engine", ENGINE_LAYERS, engine.__name__, own_names) == []


def test_no_imports_are_circular() -> None:
    """No file imports itself through others."""
    assert circular(SERVER) == []


def test_torch_stays_in_the_engine() -> None:
    """Only the engine's packages that run a model, and the doctor's look at the machine, import
    torch.
    """
    assert outside(SERVER, ("torch",), TORCH_PLACES) == []


def test_grpc_stays_above_the_scheduler() -> None:
    """No package below rpc imports grpcio, except for the certificates of the port."""
    assert (
        outside(SERVER, ("grpc", "grpc_status", "grpc_health", "grpc_reflection"), GRPC_PLACES)
        == []
    )


def test_the_server_uses_the_clients_public_names() -> None:
    """The server imports no private module of the client."""
    private = [
        str(each)
        for each in imports(SERVER)
        if each.module.startswith("classwire.")
        and any(part.startswith("_") and part != "__version__" for part in each.module.split("."))
    ]
    assert private == []


def test_every_package_has_a_layer() -> None:
    """Every top-level module and package has a layer in LAYERS."""
    found = {path.stem for path in SERVER.glob("*.py") if path.stem != "__init__"}
    found |= {path.parent.name for path in SERVER.glob("*/__init__.py")}
    assert found == set.union(*LAYERS)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("from classwire_server.config import a", "errors.py:1"),
        ("import classwire_server.config", "errors.py:1"),
        ("from .config import a", "errors.py:1"),
        ("def f() -> None:\n    from classwire_server.config import a", "errors.py:2"),
    ],
)
def test_every_form_of_upward_import_is_found(tmp_path: Path, line: str, named: str) -> None:
    """`upward` finds an upward import in every form, with file and line."""
    (tmp_path / "errors.py").write_text(line)
    assert upward(tmp_path, ({"errors"}, {"config"}))[0].startswith(named)


def test_circular_imports_are_found(tmp_path: Path) -> None:
    """`circular` finds two files that import each other."""
    (tmp_path / "errors.py").write_text("from .config import a")
    (tmp_path / "config.py").write_text("from .errors import b")
    assert circular(tmp_path) == ["classwire_server.config", "classwire_server.errors"]
