"""Rows of Parquet."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from classwire import TextInput
from classwire.cli.failures import WrongUse
from classwire.cli.rows import Columns, InputFile, Row, open_rows
from tests.cli.parquet.tables import damage, saved
from tests.cli.rows.reading import TEXT, rows_of, shown, write

TEXTS = ["good", None, "", "grüße 🙂"]


def table_of(**columns: Any) -> pa.Table:
    """Return a table."""
    return pa.table(columns)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_texts_of_every_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    """A text may be a string, a large string or dictionary-encoded; null is a missing text, as in
    JSON, and an empty one is the server's to reject.
    """
    path = saved(tmp_path / "a.parquet", table_of(text=pa.array(TEXTS).cast(kind)))
    assert parquet.read_schema(path).field("text").type == kind
    assert shown(rows_of(path)) == ["good", "!row 1 has no 'text'", "", "grüße 🙂"]


def test_rows_have_number_id_pair_and_place(tmp_path: Path) -> None:
    """A row has its number over all row groups, its id as JSON holds it, its second text, and its
    place in the file; NaN is a missing id.
    """
    ids = pa.array([1.5, float("nan"), None])
    path = saved(tmp_path / "a.parquet", table_of(n=ids, text=["a", "b", "c"], p=["x", None, "z"]))
    rows = rows_of(path, Columns("text", "p", "n"))
    size = path.stat().st_size
    assert rows == [
        Row(0, 1.5, TextInput("a", "x"), size // 3),
        Row(1, None, TextInput("b"), size * 2 // 3),
        Row(2, None, TextInput("c", "z"), size),
    ]


def test_a_column_of_nulls_is_a_column_of_missing_texts(tmp_path: Path) -> None:
    """A column whose values are all null has no type of text, and each row gets its error."""
    path = saved(tmp_path / "a.parquet", table_of(text=pa.nulls(2)))
    assert shown(rows_of(path)) == ["!row 0 has no 'text'", "!row 1 has no 'text'"]


@pytest.mark.parametrize("encoded", [False, True])
def test_bytes_that_are_no_text_are_errors_of_their_row(tmp_path: Path, encoded: bool) -> None:
    """A string that is not UTF-8, which Parquet does not check, is an error of its row."""
    broken = pa.array([b"good", b"caf\xe9", b"bad"]).view(pa.string())
    column = broken.dictionary_encode() if encoded else broken
    path = saved(tmp_path / "a.parquet", table_of(text=column), rows=3)
    assert shown(rows_of(path)) == ["good", "!row 1: 'text' is not UTF-8", "bad"]


def test_only_the_named_columns_are_read(tmp_path: Path) -> None:
    """Other columns are not read, whatever they hold."""
    path = saved(
        tmp_path / "a.parquet", table_of(text=["a", "b"], note=["keep me"] * 2), compression="NONE"
    )
    damage(path, "keep me")
    assert shown(rows_of(path)) == ["a", "b"]
    with pytest.raises(WrongUse, match="is damaged"):
        rows_of(path, Columns("note"))


def test_a_file_without_rows_has_none(tmp_path: Path) -> None:
    """A file without rows, or with an empty row group, is no error."""
    assert rows_of(saved(tmp_path / "a.parquet", table_of(text=pa.array([], pa.string())))) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns("body"),
            "has no column 'body'; the columns are: text, Note, n, when, blob, text2",
        ),
        (Columns("note"), "is it 'Note'"),
        (Columns("n"), "column 'n' holds no text but int64"),
        (Columns("blob"), "column 'blob' holds no text but binary"),
        (Columns("text", "n"), "column 'n' holds no text but int64"),
        (Columns("text", key="when"), r"column 'when' holds timestamp\[us\], which is no id"),
        (Columns(), "name the column of the text with --column"),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, columns: Columns, message: str) -> None:
    """A column that is missing or has a wrong type is one error, before a row is read."""
    table = table_of(
        text=["a"],
        Note=["b"],
        n=[1],
        when=pa.array([0], pa.timestamp("us")),
        blob=[b"x"],
        text2=["c"],
    )
    with pytest.raises(WrongUse, match=message):
        rows_of(saved(tmp_path / "a.parquet", table), columns)


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    """A name that two columns have is an error only if it is asked for."""
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["x", "text", "x"])
    path = saved(tmp_path / "a.parquet", table)
    assert shown(rows_of(path)) == ["a"]
    with pytest.raises(WrongUse, match="columns 1 and 3 have the same name, 'x'"):
        rows_of(path, Columns("x"))


@pytest.mark.parametrize("content", [b"", b"text\na\n", b"PAR1" + bytes(40), None])
def test_what_is_no_parquet_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no Parquet, or cut, is one error with its name."""
    path = saved(tmp_path / "a.parquet", table_of(text=["a"] * 9))
    write(path, path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(WrongUse, match=r"a\.parquet is no Parquet file, or damaged: "):
        rows_of(path)


def test_damage_costs_only_what_follows(tmp_path: Path) -> None:
    """The row groups before the damage are read; then the error names the last row of them."""
    texts = [f"text number {number}" for number in range(6)]
    path = saved(tmp_path / "a.parquet", table_of(text=texts), compression="NONE")
    damage(path, texts[4])
    rows: list[Row] = []
    with (
        pytest.raises(WrongUse, match="is damaged after row 3: "),
        open_rows(InputFile(path, TEXT)) as opened,
    ):
        rows.extend(opened)
    assert shown(rows) == texts[:4]


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("-", {"format": "parquet"}, "standard input cannot be Parquet"),
        ("a.parquet.gz", {}, "Parquet goes with neither .gz nor --encoding"),
        ("a.parquet", {"encoding": "latin-1"}, "Parquet goes with neither .gz nor --encoding"),
        ("a.parquet", {"delimiter": ";"}, "--delimiter and --no-quotes are for csv and tsv"),
        ("", {}, "is a folder"),
    ],
)
def test_options_of_other_formats_are_rejected(
    tmp_path: Path, name: str, how: dict[str, Any], message: str
) -> None:
    """Standard input, gzip, an encoding and a delimiter do not go with Parquet."""
    with pytest.raises(WrongUse, match=message):
        rows_of(Path(name) if name == "-" else tmp_path / name, **how)


def test_another_suffix_needs_the_format(tmp_path: Path) -> None:
    """`--format parquet` reads a file of any name."""
    path = saved(tmp_path / "part-0", table_of(text=["a"]))
    assert shown(rows_of(path, format="parquet")) == ["a"]


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow the error names the extra; other files need none."""
    path = saved(tmp_path / "a.parquet", table_of(text=["a"]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(WrongUse, match=r"pip install 'classwire\[parquet\]'"):
        rows_of(path)
    assert shown(rows_of(write(tmp_path / "a.csv", b"text\na\n"))) == ["a"]
