"""What selects the format of a file, and files that are rejected as a whole."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from classwire import TextInput
from classwire.cli.failures import WrongUse
from classwire.cli.rows import Columns, InputFile, open_rows
from tests.cli.rows.reading import TEXT, rows_of, shown, write


def test_every_line_of_a_txt_file_is_a_row(tmp_path: Path) -> None:
    """Every line of a txt file is a row, blank ones included; the last needs no line end."""
    path = write(tmp_path / "a.txt", "eins\r\n\nzwei, „drei“".encode())
    contents = [row.content for row in rows_of(path, Columns())]
    assert contents == [TextInput("eins"), TextInput(""), TextInput("zwei, „drei“")]


@pytest.mark.parametrize(
    ("name", "content", "how", "texts"),
    [
        ("a.tsv", "n\ttext\n1\tone, two\n", {}, ["one, two"]),
        ("a.TSV", 'n\ttext\n1\t"a ""tab"": \t"\n', {}, ['a "tab": \t']),
        ("a.tsv", 'n\ttext\n1\t"So" it goes\n2\t"\n', {"quotes": False}, ['"So" it goes', '"']),
        ("a.csv", "n;text\n1;one, two\n", {"delimiter": ";"}, ["one, two"]),
        ("a.dat", "n|text\n1|a\n", {"format": "csv", "delimiter": "|"}, ["a"]),
        ("a.ndjson", '{"text": "a"}\n', {}, ["a"]),
        ("a.json", '{"text": "a"}\n', {"format": "jsonl"}, ["a"]),
        ("a.csv", "n\ttext\n1\ta\n", {"format": "tsv"}, ["a"]),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_suffix_and_options_select_the_format(
    tmp_path: Path, name: str, content: str, how: dict[str, Any], texts: list[str], suffix: str
) -> None:
    """The suffix selects the format, also before .gz; --format and --delimiter select another."""
    data = gzip.compress(content.encode()) if suffix else content.encode()
    rows = rows_of(write(tmp_path / f"{name}{suffix}", data), **how)
    assert shown(rows) == texts
    assert rows[-1].end_bytes == len(data)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("a.orc", TEXT, "suffixes are .csv, .tsv, .jsonl, .ndjson, .txt, .parquet, also with .gz"),
        ("a.csv.zip", TEXT, "unknown format"),
        ("a.gz", TEXT, "unknown format"),
        ("a.csv", Columns(), "name the column of the text with --column"),
        ("a.txt", TEXT, "has no columns"),
        ("-", TEXT, "standard input has no suffix: name its --format"),
    ],
)
def test_an_option_that_does_not_fit_the_format_is_an_error(
    tmp_path: Path, name: str, columns: Columns, message: str
) -> None:
    """An unknown suffix, and an option that does not fit the format, are errors."""
    path = Path(name) if name == "-" else write(tmp_path / name, b"text\na\n")
    with pytest.raises(WrongUse, match=message):
        rows_of(path, columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"body,id\n", "no column 'text'; the columns are: body, id .*must name them"),
        ("a.csv", b"I liked it,5\nNot me,1\n", "columns are: I liked it, 5 .*must name them"),
        ("a.csv", b"id; Text \n1;a\n", "columns are: id; Text  .is the --delimiter a semicolon"),
        ("a.csv", b"id\ttext\n1\ta\n", "is the --delimiter a tab"),
        ("a.csv", b"id, Text\n1,a\n", "is it ' Text'"),
        ("a.csv", b"", "is empty; its first line must name the columns"),
        ("a.csv", b'id,"text\n1,"a"\n', "its header is wrong: line 1: a field goes on after"),
        ("a.csv", b'id,text\r1,"two\nlines"\r', "ends its lines with CR alone"),
        ("a.csv", b"id,my, text\n1,a\n2,b\n", "no column 'text'"),
        ("a.csv", b"a, long,text\n1,a\n2,b\n", "no row has the 3 fields of its header; quote"),
        ("a.csv", b"text,n,text\na,1,b\n", "line 1: columns 1 and 3 have the same name, 'text'"),
        ("a.jsonl", b'{"body": "x", "id": 1}\n', "no column 'text'; the columns are: body, id"),
        ("a.jsonl", b"[1]\n[2]\n", "not one object on each line; convert it with jq -c '.\\[\\]'"),
        ("a.jsonl", b'[\n {"text": "a"},\n {"text": "b"}\n]', "jq -c '.\\[\\]'"),
        ("a.jsonl", b'[{"text": "a"}]', "jq -c '.\\[\\]'"),
        ("a.jsonl", b'{\n "text": "a"\n}\n', "jq -c '.'"),
    ],
)
def test_a_file_that_cannot_be_right_is_rejected_with_advice(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """A missing column or header, an unquoted one, a JSON array: one error before any row, with
    what is there and what to do.
    """
    file = InputFile(write(tmp_path / name, content), TEXT)
    with pytest.raises(WrongUse, match=message), open_rows(file):
        pytest.fail("a row was read")
