"""The installed client: complete, typed, quiet, and without the server's dependencies."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import classwire
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2, classwire_pb2_grpc

COMMAND = Path(sysconfig.get_path("scripts")) / "classwire"
INSTALLED = Path(sysconfig.get_path("purelib"))
SERVER_INSTALLED = importlib.util.find_spec("classwire_server") is not None


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Return a function that runs a command and returns its output."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_package_is_the_installed_one() -> None:
    """The tests import the package from the wheel, not from a checkout."""
    assert Path(classwire.__file__).is_relative_to(INSTALLED)
    assert (
        run(COMMAND, "--version").stdout == f"classwire {importlib.metadata.version('classwire')}\n"
    )


def test_wheel_carries_types_stubs_and_licence() -> None:
    """The wheel holds py.typed, the stubs, the licence and the bill of materials."""
    files = {str(path) for path in importlib.metadata.files("classwire") or []}

    assert {"classwire/py.typed", "classwire/v1/classwire_pb2.pyi"} <= files
    assert any(path.endswith("licenses/LICENSE") for path in files)
    assert any(path.endswith("sboms/classwire.cdx.json") for path in files)
    assert not any(path.startswith(("tests", "classwire_server")) for path in files)


@pytest.mark.skipif(SERVER_INSTALLED, reason="the server's environment has torch, by design")
def test_environment_has_no_torch() -> None:
    """The client's wheel installs neither the server nor its dependencies."""
    for heavy in ("classwire_server", "torch", "transformers", "numpy"):
        assert importlib.util.find_spec(heavy) is None


def test_imports_are_silent_and_light() -> None:
    """Every public module imports without a warning and without torch."""
    code = (
        "import sys, classwire, classwire.testing, classwire.cli, classwire.v1.classwire_pb2_grpc;"
        "sys.exit(not {'torch', 'transformers', 'classwire_server'}.isdisjoint(sys.modules))"
    )

    ended = run(sys.executable, "-W", "error", "-c", code)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_public_name_is_there() -> None:
    """The wheel holds every name of `__all__`."""
    assert all(hasattr(classwire, name) for name in classwire.__all__)


def test_round_trip_with_fake_server() -> None:
    """The client classifies by call, batch and stream against the fake server."""
    with (
        FakeServer(lambda text, pair: {"bad": 0.25, "good": 0.75}) as server,
        classwire.Client(server.target) as client,
    ):
        result = client.classify("I really love this book")
        outcomes = [
            *client.classify_batch(["a", "b"]),
            *(result.outcome for result in client.classify_stream(["c", "d"])),
        ]

    assert (result.label, result.score) == ("good", 0.75)
    assert [getattr(outcome, "label", outcome) for outcome in outcomes] == ["good"] * 4


def test_generated_stubs_serve_bare_callers() -> None:
    """The generated messages and stubs work without the client class."""
    request = classwire_pb2.ClassifyRequest(input=classwire_pb2.TextInput(text="good"))

    assert classwire_pb2.ClassifyRequest.FromString(request.SerializeToString()) == request
    assert classwire_pb2_grpc.ClassifyServiceStub.__module__.startswith("classwire.v1")


def test_command_is_installed() -> None:
    """`classwire --help` lists the commands."""
    ended = run(COMMAND, "--help")

    assert ended.returncode == 0
    assert "classify" in ended.stdout
    assert ended.stderr == ""


def test_parquet_is_an_extra(tmp_path: Path) -> None:
    """Without pyarrow the command works, and for a file of Parquet it names the extra."""
    assert importlib.util.find_spec("pyarrow") is None
    path = tmp_path / "in.parquet"
    path.write_bytes(b"PAR1")

    ended = run(COMMAND, "classify", "--file", path, "--column", "text")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "pip install 'classwire[parquet]'" in ended.stderr


@pytest.mark.skipif(SERVER_INSTALLED, reason="with the server installed, serve does serve")
def test_serve_without_the_server_says_what_to_install() -> None:
    """Without the server, `serve` names the package to install in one line."""
    ended = run(COMMAND, "serve")

    assert ended.returncode != 0
    assert "install classwire-server" in ended.stderr
    assert ended.stderr.count("\n") == 1
