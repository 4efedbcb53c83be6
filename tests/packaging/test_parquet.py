"""The installed client with its extra for Parquet."""

import subprocess
import sys
from pathlib import Path

import pytest

from classwire.testing import FakeServer

pa = pytest.importorskip("pyarrow", reason="the extra is not installed")
parquet = pytest.importorskip("pyarrow.parquet")


def test_a_file_of_parquet_is_classified(tmp_path: Path) -> None:
    """The command reads and writes Parquet of several row groups without a warning."""
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    texts = pa.array(["good", None, "bad"]).dictionary_encode()
    table = pa.table({"text": texts, "n": [1, 2, 3]})
    parquet.write_table(table, source, row_group_size=1)

    with FakeServer(lambda text, pair: {"long": len(text) / 8, "none": 0.0}) as server:
        command = [sys.executable, "-W", "error", "-m", "classwire", "classify", "--file"]
        options = ["--column", "text", "--target", server.target, "--output"]
        ended = subprocess.run(
            [*command, source, *options, output],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 1, ended.stderr
    assert "3 rows, " in ended.stderr
    found = parquet.read_table(output)
    assert found.select(table.column_names).equals(table)
    assert found.column("score").to_pylist() == [0.5, None, 0.375]
    assert found.column("scores")[2].as_py() == [
        {"label": "long", "label_id": 0, "score": 0.375},
        {"label": "none", "label_id": 1, "score": 0.0},
    ]
    assert found.column("error").to_pylist()[1]["reason"] == "EMPTY_TEXT"
