"""`classwire classify --distribution`: how many rows got which label."""

import json
from pathlib import Path

import pytest

from classwire_server.config.server_config import ServerConfig
from tests.cli.conftest import Run

TEXTS = ("I love it", "I love it", "Terrible, it broke at once", "", "It is fine")


def test_rows_count_by_their_label(classwire: Run, target: str, tmp_path: Path) -> None:
    """The file has the number of rows by highest label, without rows that failed; a server accepts
    it as a reference. It is not overwritten unless --force is given.
    """
    source, counts, output = (tmp_path / name for name in ("in.csv", "counts.json", "out.jsonl"))
    source.write_text("text\n" + "".join(f'"{text}"\n' for text in TEXTS), "utf-8")
    file = ("--target", target, "--file", str(source), "--column", "text")
    command = ("classify", *file, "--output", str(output))
    asked = (*command, "--distribution", str(counts))
    ended = classwire(*asked)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    labels = [row["label"] for row in rows if "error" not in row]
    found = json.loads(counts.read_text("utf-8"))

    assert ended.code == 1  # a row failed
    assert found == {label: labels.count(label) for label in labels}
    assert sum(found.values()) == 4
    assert list(found.values()) == sorted(found.values(), reverse=True)
    ServerConfig(reference_distribution=(str(counts),))
    again = classwire(*command[:-2], "--distribution", str(counts))
    assert again.complaint == f"{counts} exists; --force overwrites it"
    assert json.loads(counts.read_text("utf-8")) == found
    assert classwire(*asked, "--force", "--top-k", "1").code == 1
    assert json.loads(counts.read_text("utf-8")) == found


def test_a_file_of_parquet(classwire: Run, target: str, tmp_path: Path) -> None:
    """Rows of Parquet count too."""
    arrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    source, counts = tmp_path / "in.parquet", tmp_path / "counts.json"
    parquet.write_table(arrow.table({"text": TEXTS}), source)
    file = ("--target", target, "--file", str(source), "--output", str(tmp_path / "out.parquet"))
    ended = classwire("classify", *file, "--column", "text", "--distribution", str(counts))

    assert ended.code == 1  # a row failed
    assert sum(json.loads(counts.read_text("utf-8")).values()) == 4


def test_options_that_leave_rows_out(classwire: Run, target: str, tmp_path: Path) -> None:
    """The option goes with a file, and with none of the options that leave rows out."""
    counts = ("--distribution", str(tmp_path / "counts.json"))
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good\n", "utf-8")
    file = ("--target", target, "--file", str(source), "--output", str(output))

    assert "--distribution go with --file" in classwire("classify", "good", *counts).err
    for option in (("--min-score", "0.5"), ("--resume",)):
        ended = classwire("classify", *file, *counts, *option)
        assert "--distribution goes with neither" in ended.err
        assert not (tmp_path / "counts.json").exists()


@pytest.mark.parametrize("name", ["in.txt", "out.jsonl", "sub/../out.jsonl", "no/counts.json"])
def test_a_file_that_cannot_be_written_is_named_first(
    classwire: Run, unanswered_target: str, tmp_path: Path, name: str
) -> None:
    """The input, the output and a file in no folder are errors before a call, even with --force."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("good\n", "utf-8")
    (tmp_path / "sub").mkdir()
    file = ("--target", unanswered_target, "--file", str(source), "--output", str(output))
    ended = classwire("classify", *file, "--distribution", str(tmp_path / name), "--force")

    assert ended.code == 2
    assert ended.complaint.endswith(("no such folder", "name another --distribution"))
    assert source.read_text("utf-8") == "good\n"
    assert not output.exists()
