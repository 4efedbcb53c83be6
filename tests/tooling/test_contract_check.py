"""`make contract` fails on a malformed contract, on one that breaks a release, on stale stubs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTO = Path("protos/classwire/v1/classwire.proto")
FIELD = "  string model = 2;\n"
NEW_FIELD = "  // One more. Default: none.\n  string another = 900;\n"
SERVER_STUBS = "server/classwire_server/open_inference"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a checkout that holds only the contract, its stubs and the check."""
    for folder in ("protos", "scripts", "client/classwire/v1", "deploy/envoy", SERVER_STUBS):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def check(repository: Path, script: str = "check-contract") -> tuple[int, str]:
    """Return a function that runs the check, or another script, and returns exit status and
    output.
    """
    ended = subprocess.run(
        [f"scripts/{script}"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, ended.stdout


def edit(repository: Path, old: str, new: str) -> None:
    """Replace the first `old` of the contract; fails when there is none."""
    text = (repository / PROTO).read_text()
    assert old in text
    (repository / PROTO).write_text(text.replace(old, new, 1))


def regenerate(repository: Path) -> None:
    """Regenerate the stubs, so that only the tested fault can fail."""
    subprocess.run(["scripts/generate-stubs", "client"], cwd=repository, check=True, timeout=60)


def test_contract_passes_and_may_grow(repository: Path) -> None:
    """The contract passes, and still passes with a new optional field."""
    edit(repository, FIELD, FIELD + NEW_FIELD)
    regenerate(repository)

    status, output = check(repository)

    assert status == 0, output


def test_change_that_breaks_the_last_release_fails(repository: Path) -> None:
    """The check and the next release reject a field that was renumbered since the last release."""
    edit(repository, FIELD, FIELD.replace("2", "99"))
    regenerate(repository)
    for script in ("check-contract", "release-contract"):
        status, output = check(repository, script)

        assert status != 0
        assert "classwire.proto" in output
        assert "model" in output


def test_later_changes_must_not_break_a_release(repository: Path) -> None:
    """A field of one release can't be removed in the next."""
    edit(repository, FIELD, FIELD + NEW_FIELD)
    assert check(repository, "release-contract") == (0, "")
    edit(repository, NEW_FIELD, "")

    status, output = check(repository)

    assert status != 0
    assert "another" in output


def test_lint_fault_fails(repository: Path) -> None:
    """The check rejects a message without a comment."""
    edit(repository, FIELD, FIELD + "  string Undocumented = 900;\n")
    regenerate(repository)

    status, output = check(repository)

    assert status != 0
    assert "Undocumented" in output


def test_unformatted_contract_fails(repository: Path) -> None:
    """The check rejects a contract that `buf format` would change, even with fresh stubs."""
    edit(repository, FIELD, FIELD.replace("  string", "     string"))

    assert check(repository)[0] != 0


@pytest.mark.parametrize(
    "name", ["client/classwire/v1/classwire_pb2.pyi", f"{SERVER_STUBS}/inference_pb2.pyi"]
)
def test_stale_stubs_fail(repository: Path, name: str) -> None:
    """The check rejects stale stubs in either place."""
    stub = repository / name
    stub.write_text(stub.read_text() + "\n")

    status, output = check(repository)

    assert status != 0
    assert "make proto" in output
