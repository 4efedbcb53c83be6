"""Rows of CSV and TSV."""

from pathlib import Path

import pytest

from classwire import TextInput
from classwire.cli.rows import MAX_LINE_BYTES, Columns
from tests.cli.rows.reading import problem, rows_of, shown, write


def test_csv_keeps_quoted_newlines_quotes_and_commas(tmp_path: Path) -> None:
    """A quoted CSV field keeps line breaks, commas and doubled quotes, in one row."""
    path = write(tmp_path / "a.csv", b'id,text\r\n7,"one\r\ntwo, ""three"""\r\n8,four\r\n')
    first, second = rows_of(path, Columns(text="text", key="id"))
    assert (first.index, first.key, first.content) == (0, "7", TextInput('one\r\ntwo, "three"'))
    assert (second.index, second.key, second.content) == (1, "8", TextInput("four"))
    assert second.end_bytes == path.stat().st_size


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
    assert problem(bad) == "line 3: 'text' is not UTF-8 (see --encoding)"


def test_a_row_of_another_length_is_its_own_error(tmp_path: Path) -> None:
    """A row with too many or too few fields is an error of that row."""
    path = write(tmp_path / "a.csv", b"text,n\ngreat, really,1\nfine,2\nshort\n")
    bad, fine, short = rows_of(path)
    assert problem(bad) == "line 2 has 3 fields, the header 2"
    assert fine.content == TextInput("fine")
    assert problem(short) == "line 4 has 1 fields, the header 2"


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"id,text\nx1,great, really\nx2\nx3,fine\n", ["x1", "x2", "x3"]),
        (b"n,id,text\n1,x1,a,b\n2\n3,x3,c\n", ["x1", None, "x3"]),
        (b"text,id\ngreat, really,x1\na\nfine,x3\n", [None, None, "x3"]),
        (b"id,text\ncaf\xe9,a,b\nx2,fine\n", [None, "x2"]),
    ],
    ids=["first", "second", "after the text", "bytes"],
)
def test_a_row_of_another_length_keeps_its_id(
    tmp_path: Path, content: bytes, keys: list[str | None]
) -> None:
    """The row has its id if the id's column comes before the text's, so that it is certain."""
    found = rows_of(write(tmp_path / "a.csv", content), Columns("text", key="id"))
    assert [row.key for row in found] == keys


@pytest.mark.parametrize(
    ("damaged", "rows"),
    [
        ('1,"never closed', ["!2"]),
        ('1,"never closed\n2,"nor this', ["!2", "!3"]),
        ('1,"closed" too early', ["!2"]),
        ("1,caf\xe9", ["!2"]),
        ('1,"two\nlines"', ["two\nlines"]),
        ("1,a\rb", ["!2"]),
        ("1,a\0b", ["a\0b"]),
        (f"1,{'x' * MAX_LINE_BYTES}", ["!2"]),
    ],
    ids=["open", "open twice", "after a quote", "bytes", "two lines", "CR", "NUL", "long"],
)
def test_a_damaged_row_of_csv_costs_no_other_row(
    tmp_path: Path, damaged: str, rows: list[str]
) -> None:
    """A damaged row is an error that names its line, and the rows below it are all read, also
    those that an unclosed quote seems to contain.
    """
    content = f'id,text\n{damaged}\n8,fine\n9,"quoted, and ""so"""\n'.encode("latin-1")
    found = rows_of(write(tmp_path / "a.csv", content), Columns("text", key="id"))
    expected = [*rows, "fine", 'quoted, and "so"']
    assert [row.index for row in found] == list(range(len(expected)))
    assert [row.key for row in found[-2:]] == ["8", "9"]
    for text, want in zip(shown(found), expected, strict=True):
        if want.startswith("!"):
            assert text.startswith(f"!line {want[1:]}")
            assert len(text) < 90
        else:
            assert text == want


def test_lines_within_a_quote_are_read_again_once(tmp_path: Path) -> None:
    """A quote in every row of a long file costs time in proportion to the file."""
    lines = [f'{number},"open' if number % 100 == 0 else f"{number},x" for number in range(5_000)]
    found = shown(rows_of(write(tmp_path / "a.csv", "\n".join(["id,text", *lines]).encode())))
    assert len(found) == 5_000
    assert [text for text in found if text != "x"] == [text for text in found if text[0] == "!"]


def test_an_id_of_csv_that_is_not_utf8_is_an_error_of_its_row(tmp_path: Path) -> None:
    """An id with bytes that are not UTF-8 cannot be copied to the output."""
    path = write(tmp_path / "a.csv", b"id,text\ncaf\xe9,a\nx,b\n")
    bad, good = rows_of(path, Columns("text", key="id"))
    assert problem(bad) == "line 2: 'id' is no id that JSON can hold"
    assert (good.key, good.content) == ("x", TextInput("b"))
