"""`make contract` fails on a malformed contract, on one that breaks a release, on stale stubs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTO = Path("protos/classwire/v1/classwire.proto")
FIELD = "  string model = 2;\n"
SERVER_STUBS = "server/classwire_server/open_inference"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit that holds the contract, its stubs and the check alone."""
    for folder in ("protos", "scripts", "client/classwire/v1", SERVER_STUBS):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    (tmp_path / ".gitignore").write_text(".venv\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "first")
    return tmp_path


def git(repository: Path, *arguments: str) -> None:
    """Runs git in a repository."""
    subprocess.run(["git", *arguments], cwd=repository, check=True, timeout=60)


def check(repository: Path) -> tuple[int, str]:
    """Runs the check in a repository and returns its exit status and all that it printed."""
    ended = subprocess.run(
        ["scripts/check-contract"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, ended.stdout


def edit(repository: Path, old: str, new: str) -> None:
    """Replaces the first `old` of the contract, which must be there."""
    text = (repository / PROTO).read_text()
    assert old in text
    (repository / PROTO).write_text(text.replace(old, new, 1))


def regenerate(repository: Path) -> None:
    """Brings the stubs up to date, so that only what is tested can fail."""
    subprocess.run(["scripts/generate-stubs", "client"], cwd=repository, check=True, timeout=60)


def test_contract_passes_before_the_first_release(repository: Path) -> None:
    """The contract as it stands is clean, and the missing release is said."""
    status, output = check(repository)

    assert status == 0, output
    assert "No release yet" in output


def test_change_that_breaks_the_last_release_fails(repository: Path) -> None:
    """A field renumbered since the newest tag is refused; an older tag does not matter."""
    git(repository, "tag", "v0.9.0")
    git(repository, "tag", "v0.10.0")
    assert check(repository)[0] == 0
    edit(repository, FIELD, FIELD.replace("2", "99"))
    regenerate(repository)

    status, output = check(repository)

    assert status != 0
    assert "classwire.proto" in output
    assert "model" in output


def test_unreachable_tags_of_a_shallow_clone_fail(repository: Path) -> None:
    """A clone without history must not take its missing tags for a missing release."""
    (repository / ".git" / "shallow").write_text(
        subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
        ).stdout
    )

    assert check(repository)[0] != 0


def test_lint_fault_fails(repository: Path) -> None:
    """A message without a comment is refused."""
    edit(repository, FIELD, FIELD + "  string Undocumented = 900;\n")
    regenerate(repository)

    status, output = check(repository)

    assert status != 0
    assert "Undocumented" in output


def test_unformatted_contract_fails(repository: Path) -> None:
    """A contract that `buf format` would rewrite is refused, stubs or not."""
    edit(repository, FIELD, FIELD.replace("  string", "     string"))

    assert check(repository)[0] != 0


@pytest.mark.parametrize(
    "name", ["client/classwire/v1/classwire_pb2.pyi", f"{SERVER_STUBS}/inference_pb2.pyi"]
)
def test_stale_stubs_fail(repository: Path, name: str) -> None:
    """Stubs that are not generated from the contract as it stands are refused, in both places."""
    stub = repository / name
    stub.write_text(stub.read_text() + "\n")

    status, output = check(repository)

    assert status != 0
    assert "make proto" in output
