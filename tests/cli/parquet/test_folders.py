"""A folder of Parquet files gives a folder, a file for each."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from classwire import Reason
from classwire.testing import FakeServer
from tests.cli.conftest import Run
from tests.cli.parquet.tables import by_length, saved
from tests.cli.parquet.test_resumption import classified

NAMES = ["a.parquet", "year=2025/b.parquet", "z.parquet"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of two rows, and with others that are not data."""
    for number, name in enumerate(NAMES):
        saved(tmp_path / "in" / name, pa.table({"t": [f"{number}", None]}), rows=1)
    saved(tmp_path / "in" / "_hidden" / "c.parquet", pa.table({"t": ["no data"]}))
    saved(tmp_path / "in" / ".a.parquet", pa.table({"t": ["no data"]}))
    (tmp_path / "in" / "_SUCCESS").touch()
    return tmp_path / "in"


def outputs(folder: Path) -> list[str]:
    """Return the names of all files of a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_gives_a_folder(classwire: Run, folder: Path) -> None:
    """Each Parquet file has an output of the same name; hidden ones, and those of folders that
    begin with an underscore, are left out. The last line counts all.
    """
    output = folder.parent / "out" / "scores"
    with FakeServer(by_length) as server:
        files = ["--file", str(folder), "--column", "t", "--output", str(output)]
        ended = classwire("classify", "--target", server.target, *files)
        assert classified(server) == ["0", "1", "2"]
    assert (ended.code, outputs(output)) == (1, NAMES)
    assert ended.err.startswith("6 rows, ")
    assert ", 3 errors, " in ended.err
    for number, name in enumerate(NAMES):
        found = parquet.ParquetFile(output / name).read()
        assert found.column("t").to_pylist() == [f"{number}", None]
        assert found.column("label").to_pylist() == ["short", None]


def test_a_folder_is_resumed_in_the_middle(classwire: Run, folder: Path) -> None:
    """`--resume` keeps files that are finished, and scores those that are new, in any place."""
    output = folder.parent / "out"
    with FakeServer(by_length, max_items_per_message=1) as server:
        files = ["--file", str(folder), "--column", "t", "--output", str(output)]
        command = ["classify", "--target", server.target, *files]
        server.fail_text("1", Reason.INTERNAL, times=1)
        last = (folder / "z.parquet").rename(folder.parent / "z.parquet")
        assert classwire(*command).code == 1
        assert outputs(output) == NAMES[:2]
        last.rename(folder / "z.parquet")
        saved(folder / "b.parquet", pa.table({"t": ["4"]}))
        server.requests.clear()
        ended = classwire(*command, "--resume")
        assert classified(server) == ["4", "2"]
    assert outputs(output) == sorted([*NAMES, "b.parquet"])
    assert ended.err.startswith("7 rows (4 from before), ")
    assert ", 4 errors, " in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "is a folder, and so are its results: name one with --output"),
        (["--output", "OUT/file.txt"], "is a folder, and so are its results"),
        (["--output", "OUT/in"], "are the same folder, or one contains the other"),
        (["--output", "OUT/in/scores"], "are the same folder, or one contains the other"),
        (["--output", "OUT"], "are the same folder, or one contains the other"),
        (["--output", "OUT/out", "--format", "csv"], "it can only be of Parquet files"),
        (["--output", "OUT/out", "--encoding", "latin-1"], "Parquet goes with neither"),
        (["--output", "OUT/out", "--file", "OUT/empty"], "empty has no .parquet file"),
        (["--output", "OUT/out", "--column", "u"], "a.parquet has no column 'u'"),
    ],
)
def test_a_folder_that_cannot_be_right_is_named(
    classwire: Run, folder: Path, unanswered_target: str, options: list[str], message: str
) -> None:
    """One line and exit code 2, without a call or a file."""
    root = folder.parent
    (root / "file.txt").touch()
    (root / "empty").mkdir()
    before = outputs(root)
    given = [each.replace("OUT", str(root)) for each in options]
    command = ["classify", "--target", unanswered_target, "--column", "t", "--file", str(folder)]
    ended = classwire(*command, *given)
    assert (ended.code, ended.out, outputs(root)) == (2, "", before)
    assert message in ended.complaint


def test_other_commands_name_the_folder(
    classwire: Run, folder: Path, unanswered_target: str
) -> None:
    """`rank --file` and other formats take no folder."""
    command = ["rank", "query", "--target", unanswered_target, "--column", "t"]
    assert "is a folder" in classwire(*command, "--file", str(folder)).complaint
