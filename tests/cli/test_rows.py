"""Reading files of rows: rows, errors of single rows, and errors that end the reading."""

import io
from pathlib import Path

import pytest

from classwire import InvalidInputError, TextInput
from classwire.cli.failures import WrongUse
from classwire.cli.rows import MAX_LINE_BYTES, Columns, Row, line_rows, open_rows

TEXT = Columns(text="text")


def rows_of(path: Path, columns: Columns = TEXT) -> list[Row]:
    """Return all rows of a file."""
    with open_rows(path, columns) as rows:
        return list(rows)


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def problem(row: Row) -> str:
    """Return the message of a row that holds no text."""
    assert isinstance(row.content, InvalidInputError)
    return row.content.message


def test_csv_keeps_quoted_newlines_quotes_and_commas(tmp_path: Path) -> None:
    """A quoted CSV field keeps line breaks, commas and doubled quotes, in one row."""
    path = write(tmp_path / "a.csv", b'id,text\r\n7,"one\r\ntwo, ""three"""\r\n8,four\r\n')
    first, second = rows_of(path, Columns(text="text", key="id"))
    assert (first.index, first.key, first.content) == (0, "7", TextInput('one\r\ntwo, "three"'))
    assert (second.index, second.key, second.content) == (1, "8", TextInput("four"))
    assert second.end_bytes == path.stat().st_size


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """A byte order mark, as Excel writes it, is not part of the first column's name."""
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,n\nhello,1\n")
    assert [row.content for row in rows_of(path)] == [TextInput("hello")]


def test_blank_lines_of_csv_are_no_rows(tmp_path: Path) -> None:
    """Blank lines of a CSV are no rows, as for csv.DictReader and pandas."""
    path = write(tmp_path / "a.csv", b"\ntext\n\na\n\n\nb\n")
    assert [(row.index, row.content) for row in rows_of(path)] == [
        (0, TextInput("a")),
        (1, TextInput("b")),
    ]


def test_pairs_come_from_two_columns(tmp_path: Path) -> None:
    """--pair-column names the column of the second text."""
    path = write(tmp_path / "a.csv", b"q,a\nwhy?,because\n")
    (row,) = rows_of(path, Columns(text="q", pair="a"))
    assert row.content == TextInput("why?", "because")


def test_undecodable_bytes_are_an_error_of_their_row_only(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are an error of their row, and only in a column that is used."""
    path = write(tmp_path / "a.csv", b"text,note\ngood,caf\xe9\nb\xffd,x\nfine,y\n")
    good, bad, fine = rows_of(path)
    assert (good.content, fine.content) == (TextInput("good"), TextInput("fine"))
    assert problem(bad) == "line 3: 'text' is not UTF-8"


def test_a_row_of_another_length_is_its_own_error(tmp_path: Path) -> None:
    """A row with too many or too few fields is an error of that row."""
    path = write(tmp_path / "a.csv", b"text,n\ngreat, really,1\nfine,2\nshort\n")
    bad, fine, short = rows_of(path)
    assert problem(bad) == "line 2 has 3 fields, the header 2"
    assert fine.content == TextInput("fine")
    assert problem(short) == "line 4 has 1 fields, the header 2"


def test_a_quote_that_is_never_closed_is_an_error_not_a_text(tmp_path: Path) -> None:
    """A quote that is never closed is an error, not a text of the rest of the file."""
    path = write(tmp_path / "a.csv", b'text\ngood\n"never\nclosed\n')
    good, bad = rows_of(path)
    assert good.content == TextInput("good")
    assert problem(bad).startswith("the row from line 3 is not CSV")


def test_reading_goes_on_after_a_row_that_is_no_csv(tmp_path: Path) -> None:
    """After a malformed CSV row the next rows are still read."""
    path = write(tmp_path / "a.csv", b'text\n"a"b\nfine\n')
    bad, fine = rows_of(path)
    assert "is not CSV" in problem(bad)
    assert (fine.index, fine.content) == (1, TextInput("fine"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_missing_column_names_those_that_are_there(tmp_path: Path, name: str) -> None:
    """A missing column is an error that lists the columns, before any row."""
    path = write(tmp_path / name, b"body,id\n" if name == "a.csv" else b'{"body": "x", "id": 1}\n')
    with pytest.raises(WrongUse, match="no column 'text'; the columns are: body, id"):
        rows_of(path)


def test_a_column_that_is_there_twice_is_rejected(tmp_path: Path) -> None:
    """A column name that stands twice is an error, since it is ambiguous."""
    path = write(tmp_path / "a.csv", b"text,text\na,b\n")
    with pytest.raises(WrongUse, match="has 2 columns named 'text'"):
        rows_of(path)


def test_jsonl_rows_keep_the_type_of_their_id(tmp_path: Path) -> None:
    """A JSONL id keeps its JSON type; a pair of null is no pair."""
    path = write(
        tmp_path / "a.jsonl",
        b'{"text": "a\\nb", "id": 7, "p": null}\n\n{"text": "c", "id": ["x"], "p": "d"}',
    )
    first, second = rows_of(path, Columns(text="text", pair="p", key="id"))
    assert (first.index, first.key, first.content) == (0, 7, TextInput("a\nb"))
    assert (second.index, second.key, second.content) == (1, ["x"], TextInput("c", "d"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 2 is not JSON"),
        (b"[" * 100_000, "line 2 is not JSON"),
        (b"7", "line 2 is no JSON object"),
        (b'{"other": "x"}', "line 2 has no 'text'"),
        (b'{"text": null}', "line 2 has no 'text'"),
        (b'{"text": 5}', "line 2: 'text' holds no text but int"),
        (b'{"text": "\xff"}', "line 2 is not UTF-8: byte 0xff at offset 23"),
    ],
)
def test_a_bad_line_of_jsonl_is_its_own_error(tmp_path: Path, line: bytes, message: str) -> None:
    """A malformed JSONL line is an error of its row, and the next line is read."""
    path = write(tmp_path / "a.jsonl", b'{"text":"a"}\n' + line + b'\n{"text": "b"}\n')
    first, bad, last = rows_of(path)
    assert (first.content, last.content) == (TextInput("a"), TextInput("b"))
    assert problem(bad) == message


def test_every_line_of_a_txt_file_is_a_row(tmp_path: Path) -> None:
    """Every line of a txt file is a row, blank ones included; the last needs no line end."""
    path = write(tmp_path / "a.txt", "eins\r\n\nzwei, „drei“".encode())
    contents = [row.content for row in rows_of(path, Columns())]
    assert contents == [TextInput("eins"), TextInput(""), TextInput("zwei, „drei“")]


def test_utf16_is_rejected_by_name(tmp_path: Path) -> None:
    """UTF-16 is one error that names the encoding."""
    path = write(tmp_path / "a.txt", "hello".encode("utf-16"))
    with pytest.raises(WrongUse, match="is UTF-16; save it as UTF-8"):
        rows_of(path, Columns())


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("a.parquet", TEXT, "known suffixes are .csv, .jsonl, .txt"),
        ("a.csv", Columns(), "name the column of the text with --column"),
        ("a.txt", TEXT, "has no columns"),
    ],
)
def test_the_suffix_selects_the_format(
    tmp_path: Path, name: str, columns: Columns, message: str
) -> None:
    """The suffix selects the format, and an option that does not fit the format is an error."""
    with pytest.raises(WrongUse, match=message):
        rows_of(write(tmp_path / name, b"text\na\n"), columns)


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    """A line longer than a bound is an error, and does not fill the memory."""
    with pytest.raises(WrongUse, match="line 1 is over"):
        list(line_rows(lambda size_bytes: b"x" * size_bytes, "endless"))


def test_a_line_that_fills_several_reads_is_whole() -> None:
    """A line that spans several reads stays whole."""
    long = "a" * (MAX_LINE_BYTES // 64)
    rows = list(line_rows(io.BytesIO(f"{long}\nb".encode()).read, "long"))
    assert [row.content for row in rows] == [TextInput(long), TextInput("b")]
