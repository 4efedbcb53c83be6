"""Parquet files for tests, and scores of their texts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet


def by_length(text: str, pair: str | None) -> dict[str, float]:
    """Return scores that depend on the lengths of text and pair."""
    return {"short": 1 / (1 + len(text)), "pair": len(pair or "") / 100}


def saved(path: Path, table: pa.Table, rows: int = 2, **how: Any) -> Path:
    """Write a table in row groups of `rows` rows, and return its path."""
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows, **how)
    return path


def damage(path: Path, text: str) -> None:
    """Give a text of an uncompressed file a length that no file has."""
    data = path.read_bytes()
    before, text_bytes, behind = data.partition(text.encode())
    path.write_bytes(before[:-4] + b"\xff\xff\xff\x7f" + text_bytes + behind)
