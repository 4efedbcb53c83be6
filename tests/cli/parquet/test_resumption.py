"""`classwire classify --file x.parquet --resume` continues by row group."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from classwire import Reason
from classwire.testing import FakeServer
from tests.cli.conftest import Run, Spawn
from tests.cli.parquet.tables import by_length, damage, saved

TEXTS = ["a", None, "bb", "ccc", "dddd", None, "eeeee"]
"""In row groups of two rows."""


def command(server: FakeServer, folder: Path, *options: str) -> list[str]:
    """Return the command that scores in.parquet of the folder into out.parquet."""
    files = ["--file", str(folder / "in.parquet"), "--output", str(folder / "out.parquet")]
    return ["classify", "--target", server.target, *files, "--column", "t", *options]


def classified(server: FakeServer) -> list[str]:
    """Return the texts that the server was asked for, in order."""
    items = [request.items.items for request in server.requests if hasattr(request, "items")]
    return [item.input.text for each in items for item in each]


def rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a file."""
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


def interrupted(classwire: Run, server: FakeServer, folder: Path, after: int) -> None:
    """Run until the stream breaks, which it does `after` results."""
    server.break_stream(Reason.INTERNAL, after_results=after)
    assert classwire(*command(server, folder)).code == 1
    server.requests.clear()


@pytest.fixture
def whole(classwire: Run, tmp_path: Path) -> list[dict[str, Any]]:
    """Write in.parquet, and return the rows of its output, which is removed again."""
    saved(tmp_path / "in.parquet", pa.table({"t": TEXTS, "n": range(7)}))
    with FakeServer(by_length) as server:
        assert classwire(*command(server, tmp_path)).code == 1
    found = rows(tmp_path / "out.parquet")
    assert [row["n"] for row in found] == list(range(7))
    (tmp_path / "out.parquet").unlink()
    return found


@pytest.mark.parametrize(
    ("after", "left", "again"),
    [
        (1, 1, ["bb", "ccc", "dddd", "eeeee"]),
        (2, 1, ["bb", "ccc", "dddd", "eeeee"]),
        (3, 2, ["dddd", "eeeee"]),
        (4, 3, ["eeeee"]),
    ],
)
def test_a_run_that_broke_goes_on_with_the_next_row_group(
    classwire: Run,
    tmp_path: Path,
    whole: list[dict[str, Any]],
    after: int,
    left: int,
    again: list[str],
) -> None:
    """The row groups with results are kept, and only the texts of the others are classified again.
    The output is that of a whole run, and counts the errors of both runs.
    """
    with FakeServer(by_length, max_items_per_message=1) as server:
        interrupted(classwire, server, tmp_path, after)
        assert len(list((tmp_path / "out.parquet.parts").iterdir())) == left
        assert not (tmp_path / "out.parquet").exists()
        ended = classwire(*command(server, tmp_path, "--resume"))
        assert classified(server) == again
    assert ended.code == 1
    assert f"7 rows ({2 * left} from before), " in ended.err
    assert ", 2 errors, " in ended.err
    assert rows(tmp_path / "out.parquet") == whole
    assert not (tmp_path / "out.parquet.parts").exists()


def test_a_killed_run_goes_on(
    classwire: Run, spawn: Spawn, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """After SIGKILL, `--resume` goes on after the last whole row group: no row is lost or twice."""
    reached, over = threading.Event(), threading.Event()

    def answer(text: str, pair: str | None) -> dict[str, float]:
        if text == "dddd" and not over.is_set():
            reached.set()
            over.wait(60)
        return by_length(text, pair)

    with FakeServer(answer, max_items_per_message=1) as server:
        with spawn(*command(server, tmp_path)) as process:
            assert reached.wait(60)
            while not (tmp_path / "out.parquet.parts" / "000001").exists():
                assert process.poll() is None
                over.wait(0.01)
            process.kill()
            process.communicate(timeout=60)
        over.set()
        server.requests.clear()
        assert classwire(*command(server, tmp_path, "--resume")).code == 1
        assert classified(server) == ["dddd", "eeeee"]
    assert rows(tmp_path / "out.parquet") == whole


def test_two_runs_at_once(
    classwire: Run, spawn: Spawn, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """A run whose output another one writes fails and changes nothing; the other one ends well."""
    parts = tmp_path / "out.parquet.parts"
    over = threading.Event()

    def answer(text: str, pair: str | None) -> dict[str, float]:
        if text == "dddd":
            over.wait(60)
        return by_length(text, pair)

    with (
        FakeServer(answer, max_items_per_message=1) as server,
        FakeServer(by_length) as another,
        spawn(*command(server, tmp_path)) as process,
    ):
        while not (parts / "000001").exists():
            assert process.poll() is None
            over.wait(0.01)
        for option in ("--resume", "--force"):
            ended = classwire(*command(another, tmp_path, option))
            assert ended.code == 1
            assert "another run writes" in ended.err
            assert sorted(part.name for part in parts.iterdir()) == ["000000", "000001"]
        over.set()
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert rows(tmp_path / "out.parquet") == whole


def test_parts_that_cannot_be_written(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """A run that cannot write ends with its first result, not with its first row group."""
    (tmp_path / "out.parquet.parts").write_bytes(b"")
    with FakeServer(by_length, max_items_per_message=1) as server:
        ended = classwire(*command(server, tmp_path, "--force"))
    assert ended.code == 2
    assert ended.err.startswith("stopped after 0 rows, ")


@pytest.mark.parametrize("option", [[], ["--resume"], ["--force"]], ids=" ".join)
@pytest.mark.parametrize("name", ["notes.txt", "000000", "0000", "000001/notes.txt"])
def test_a_folder_of_another_program_is_kept(
    classwire: Run,
    tmp_path: Path,
    unanswered_target: str,
    name: str,
    option: list[str],
) -> None:
    """A folder with the name of the parts that has anything else is an error before a call, and
    stays as it is.
    """
    saved(tmp_path / "in.parquet", pa.table({"t": TEXTS}))
    mine = tmp_path / "out.parquet.parts" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    files = ["--file", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out.parquet")]
    command = ["classify", "--target", unanswered_target, *files, "--column", "t"]
    ended = classwire(*command, *option)
    assert (ended.code, mine.read_text()) == (2, "precious")
    assert "is none of the command's parts; move it to another folder" in ended.complaint


def test_parquet_of_another_program_is_no_part(
    classwire: Run, tmp_path: Path, unanswered_target: str
) -> None:
    """A file with a part's name that another program wrote is kept."""
    saved(tmp_path / "in.parquet", pa.table({"t": TEXTS}))
    mine = saved(tmp_path / "out.parquet.parts" / "000000", pa.table({"t": ["precious"]}))
    files = ["--file", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out.parquet")]
    command = ["classify", "--target", unanswered_target, *files, "--column", "t", "--force"]
    assert classwire(*command).code == 2
    assert rows(mine) == [{"t": "precious"}]


def test_what_another_program_adds_during_the_run_is_kept(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """A run ends well if its folder of parts gets another file, and leaves only that."""
    parts = tmp_path / "out.parquet.parts"

    def answer(text: str, pair: str | None) -> dict[str, float]:
        if text == "eeeee":
            (parts / "notes.txt").write_text("precious")
        return by_length(text, pair)

    with FakeServer(answer, max_items_per_message=1) as server:
        assert classwire(*command(server, tmp_path)).code == 1
    assert rows(tmp_path / "out.parquet") == whole
    assert [path.name for path in parts.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_part_that_is_cut_is_written_again(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]], size: int
) -> None:
    """A part that a kill left incomplete, of any size, is no part."""
    with FakeServer(by_length, max_items_per_message=1) as server:
        interrupted(classwire, server, tmp_path, 3)
        part = tmp_path / "out.parquet.parts" / "000001"
        part.write_bytes(part.read_bytes()[:size])
        (tmp_path / "out.parquet.parts" / "whole").write_bytes(b"PAR1 of a run that was killed")
        assert classwire(*command(server, tmp_path, "--resume")).code == 1
        assert classified(server) == ["bb", "ccc", "dddd", "eeeee"]
    assert rows(tmp_path / "out.parquet") == whole


def test_a_finished_output_is_left_as_it_is(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """`--resume` of a finished run classifies nothing, counts its errors, and removes parts that a
    kill left behind it.
    """
    output, parts = tmp_path / "out.parquet", tmp_path / "out.parquet.parts"
    with FakeServer(by_length, max_items_per_message=1) as server:
        interrupted(classwire, server, tmp_path, 3)
        shutil.copytree(parts, tmp_path / "kept")
        assert classwire(*command(server, tmp_path, "--resume")).code == 1
        shutil.move(tmp_path / "kept", parts)
        before = output.stat().st_mtime_ns
        server.requests.clear()
        ended = classwire(*command(server, tmp_path, "--resume"))
        assert (ended.code, server.requests) == (1, [])
    assert ended.err.startswith("7 rows (7 from before), ")
    assert (output.stat().st_mtime_ns, parts.exists()) == (before, False)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("input", [], "/in.parquet has changed"),
        ("model", [], "it has another fingerprint"),
        ("", ["--top-k", "1"], "it has another top k"),
        ("", ["--prefix", "p_"], "it has another prefix"),
        ("", ["--pair-column", "t"], "it has another pair column"),
    ],
)
def test_a_run_with_another_input_or_options_is_rejected(
    classwire: Run,
    tmp_path: Path,
    whole: list[dict[str, Any]],
    finished: bool,
    change: str,
    options: list[str],
    message: str,
) -> None:
    """Results of another input, model or option are not continued, nor taken for finished: one
    line, exit code 2, and the results stay. --force begins anew.
    """
    with FakeServer(by_length, max_items_per_message=1) as server:
        if finished:
            assert classwire(*command(server, tmp_path)).code == 1
        else:
            interrupted(classwire, server, tmp_path, 3)
        if change == "model":
            server.model.fingerprint = "1" * 64
        elif change:
            saved(tmp_path / "in.parquet", pa.table({"t": ["z", *TEXTS[1:]], "n": range(7)}))
        left = sorted(tmp_path.rglob("*"))
        server.requests.clear()
        ended = classwire(*command(server, tmp_path, "--resume", *options))
        assert (ended.code, server.requests, sorted(tmp_path.rglob("*"))) == (2, [], left)
        assert "out.parquet cannot be resumed: " in ended.complaint
        assert f"{message}; --force overwrites it" in ended.complaint
        assert classwire(*command(server, tmp_path, "--force", *options)).code == 1
        assert len(classified(server)) == 5
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 7


def test_what_another_program_wrote_is_kept(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """An output that is no result of the command is never continued, and without --force never
    overwritten; parts alone count as an output.
    """
    output = tmp_path / "out.parquet"
    with FakeServer(by_length, max_items_per_message=1) as server:
        saved(output, pa.table({"t": ["mine"]}))
        ended = classwire(*command(server, tmp_path, "--resume"))
        assert (ended.code, rows(output)) == (2, [{"t": "mine"}])
        assert "another command wrote it" in ended.complaint
        assert "exists; --resume continues it" in classwire(*command(server, tmp_path)).complaint
        output.write_bytes(b"no Parquet")
        assert "no Parquet file" in classwire(*command(server, tmp_path, "--resume")).complaint
        output.unlink()
        interrupted(classwire, server, tmp_path, 3)
        assert "exists; --resume continues it" in classwire(*command(server, tmp_path)).complaint


@pytest.mark.parametrize("origin", [b"no JSON", b"\xff", b"[]", b"null", b"[" * 100_000])
def test_an_origin_of_another_program(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]], origin: bytes
) -> None:
    """Metadata under Classwire's name that are not Classwire's make a file another program's."""
    saved(tmp_path / "out.parquet", pa.table({"t": ["mine"]}, metadata={"classwire": origin}))
    with FakeServer(by_length) as server:
        ended = classwire(*command(server, tmp_path, "--resume"))
    assert ended.code == 2
    assert "another command wrote it" in ended.complaint


def test_an_output_that_was_changed(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """An output that has lost the column of errors is not taken for finished."""
    output = tmp_path / "out.parquet"
    with FakeServer(by_length) as server:
        classwire(*command(server, tmp_path))
        parquet.write_table(parquet.read_table(output).drop_columns(["error"]), output)
        ended = classwire(*command(server, tmp_path, "--resume"))
    assert ended.code == 2
    assert "another command wrote it" in ended.complaint


def test_the_errors_of_a_column_with_a_dot(classwire: Run, tmp_path: Path) -> None:
    """A finished output has as many errors as its run, also if a nested column of the input has the
    path that is the name of the column of errors.
    """
    nested = [{"error": number} for number in range(7)]
    saved(tmp_path / "in.parquet", pa.table({"p": nested, "t": TEXTS}))
    with FakeServer(by_length) as server:
        first = classwire(*command(server, tmp_path, "--prefix", "p."))
        second = classwire(*command(server, tmp_path, "--prefix", "p.", "--resume"))
    assert ", 2 errors, " in first.err
    assert ", 2 errors, " in second.err


def test_damage_keeps_the_row_groups_before_it(
    classwire: Run, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """A file that is damaged in a row group has results for those before, and says where it is."""
    source = tmp_path / "in.parquet"
    texts = [f"text number {number}" for number in range(6)]
    parquet.write_table(pa.table({"t": texts}), source, row_group_size=2, compression="NONE")
    damage(source, texts[4])
    with FakeServer(by_length) as server:
        ended = classwire(*command(server, tmp_path))
    assert ended.code == 2
    assert ended.err.splitlines()[0].startswith("stopped after 4 rows, ")
    assert "in.parquet is damaged after row 3: " in ended.err
    assert "--resume" not in ended.err
    assert len(list((tmp_path / "out.parquet.parts").iterdir())) == 2
