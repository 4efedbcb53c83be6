"""Two runs with one output: only one of them writes it."""

import fcntl
import threading
from pathlib import Path

import pytest

from classwire.testing import FakeServer
from tests.cli.conftest import Run, Spawn

COMMANDS = (("classify",), ("zero-shot", "--label=a", "--label=b"))


def entailed(text: str, pair: str | None) -> dict[str, float]:
    """Classify every text, and every pair of a text and a hypothesis, alike."""
    return {"contradiction": 0.25, "entailment": 0.75}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a file of texts, and return its path."""
    path = tmp_path / "in.txt"
    path.write_text("one\ntwo\nthree\n")
    return path


def test_two_runs_at_once(classwire: Run, spawn: Spawn, tmp_path: Path, source: Path) -> None:
    """A run whose output another one writes fails and changes nothing; the other one ends well."""
    output = tmp_path / "out.jsonl"
    files = ["--file", str(source), "--output", str(output)]
    over = threading.Event()

    def answer(text: str, pair: str | None) -> dict[str, float]:
        if text == "three":
            over.wait(60)
        return entailed(text, pair)

    with (
        FakeServer(answer, max_items_per_message=1) as server,
        FakeServer(entailed) as another,
        spawn("classify", "--target", server.target, *files) as process,
    ):
        while not (output.exists() and output.read_bytes().count(b"\n") == 2):
            assert process.poll() is None
            over.wait(0.01)
        left = output.read_bytes()
        for option in ("--resume", "--force"):
            ended = classwire("classify", "--target", another.target, *files, option)
            assert (ended.code, output.read_bytes()) == (1, left)
            assert ended.err.splitlines()[-1] == f"classwire: another run writes {output}"
        over.set()
        process.communicate(timeout=60)
    assert process.returncode == 0
    lines = output.read_bytes().splitlines()
    assert [line.split(b",")[0] for line in lines] == [b'{"row": %d' % row for row in range(3)]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_locked_output_is_kept(
    classwire: Run, tmp_path: Path, source: Path, command: tuple[str, ...], name: str
) -> None:
    """Each command and format leaves an output alone while it is locked."""
    output = tmp_path / name
    output.write_text("precious")
    files = ["--file", str(source), "--output", str(output), "--force"]
    with FakeServer(entailed) as server, output.open() as file:
        server.model.labels[:] = ["contradiction", "entailment"]
        fcntl.flock(file, fcntl.LOCK_EX)
        ended = classwire(*command, "--target", server.target, *files)
        assert (ended.code, output.read_text()) == (1, "precious")
        assert "another run writes" in ended.err
        fcntl.flock(file, fcntl.LOCK_UN)
        assert classwire(*command, "--target", server.target, *files).code == 0


@pytest.mark.parametrize("option", [[], ["--resume"], ["--force"]], ids=" ".join)
def test_an_output_that_appears_is_kept(
    classwire: Run, tmp_path: Path, source: Path, option: list[str]
) -> None:
    """A run does not overwrite what another run has written since it began."""
    output = tmp_path / "out.jsonl"

    def answer(text: str, pair: str | None) -> dict[str, float]:
        output.write_text("precious")
        return entailed(text, pair)

    with FakeServer(answer) as server:
        files = ["--file", str(source), "--output", str(output), *option]
        ended = classwire("classify", "--target", server.target, *files)
    assert (ended.code, output.read_text()) == (1, "precious")
    assert ended.err.splitlines()[-1] == f"classwire: another run has written {output}"
