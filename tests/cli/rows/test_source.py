"""Encodings, compressed files, and lines in bounded memory."""

import gzip
import io
import random
from pathlib import Path
from typing import Any

import pytest

from classwire import TextInput
from classwire.cli.failures import WrongUse
from classwire.cli.rows import MAX_LINE_BYTES, Columns, InputFile, Row, line_rows, open_rows
from tests.cli.rows.reading import TEXT, rows_of, shown, write


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be-mark", "utf-32-be-mark"]
)
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    """A byte order mark, as Excel writes it, names the encoding, and is not part of the first
    column's name or of the first text.
    """
    codec, marked, _ = encoding.partition("-mark")
    table = end.join(["text,n", "grüße 🙂,1", '"zwei""', 'Zeilen",2', ""])
    content = ("\ufeff" * bool(marked) + table).encode(codec)
    rows = rows_of(write(tmp_path / "a.csv", content))
    assert shown(rows) == ["grüße 🙂", f'zwei"{end}Zeilen']
    assert rows[-1].end_bytes == len(content)
    assert shown(rows_of(write(tmp_path / "a.txt", content), Columns()))[0] == "text,n"


@pytest.mark.parametrize(
    ("content", "encoding", "texts"),
    [
        (b"caf\xe9\na", "latin-1", ["café", "a"]),
        ("\ufeffcafé\na".encode("utf-16-le"), "utf-16-le", ["café", "a"]),
        (b"\xef\xbb\xbfa", "utf-8", ["a"]),
        (b"a\n\x81\nb", "cp1252", ["a", "!line 2 is not CP1252 (see --encoding)", "b"]),
        (
            b"a\0\n\0" + b"\x00\xd8" + b"\n\0b\0\n\0c",
            "utf-16-le",
            [
                "a",
                "!line 2 is not UTF-16-LE (see --encoding)",
                "b",
                "!line 4 is not UTF-16-LE (see --encoding)",
            ],
        ),
    ],
    ids=["latin-1", "mark", "utf-8", "undefined", "surrogate, and half a unit at the end"],
)
def test_another_encoding_can_be_named(
    tmp_path: Path, content: bytes, encoding: str, texts: list[str]
) -> None:
    """--encoding names the encoding. Bytes that it has not are an error of their line."""
    path = write(tmp_path / "a.txt", content)
    assert shown(rows_of(path, Columns(), encoding=encoding)) == texts


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (b"a", {"encoding": "utf-9"}, "unknown encoding: utf-9"),
        (b"a", {"encoding": "hex"}, "'hex' is not a text encoding"),
        (b"text", {"encoding": "utf-16"}, "--encoding utf-16: .* does not start with BOM"),
        ("text".encode("utf-16-le"), {}, "UTF-16 without a byte order mark: .* utf-16-le"),
        ("text".encode("utf-16-be"), {}, "UTF-16 without a byte order mark: .* utf-16-be"),
        (gzip.compress(b"text", mtime=0), {}, "is compressed; name it .gz"),
        (b"one\rtwo\rthree\r", {}, "ends its lines with CR alone"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_file_that_is_no_lines_of_utf8_is_rejected_with_advice(
    tmp_path: Path, name: str, content: bytes, how: dict[str, Any], message: str
) -> None:
    """A file that cannot be read at all is one error that says what to do."""
    columns = Columns() if name == "a.txt" else TEXT
    with pytest.raises(WrongUse, match=message):
        rows_of(write(tmp_path / name, content), columns, **how)


def test_the_place_in_a_compressed_file_grows_with_its_rows(tmp_path: Path) -> None:
    """The place of a row in a .gz file, for progress, is in proportion to the rows before it; all
    members of such a file are read.
    """
    words = random.Random(1).sample(range(10**9), 40_000)
    halves = ["".join(f"{word}\n" for word in half) for half in (words[:20_000], words[20_000:])]
    data = b"".join(gzip.compress(half.encode()) for half in halves)
    rows = rows_of(write(tmp_path / "a.txt.gz", data), Columns())
    assert shown(rows) == [str(word) for word in words]
    for part in range(1, 41):
        assert rows[1_000 * part - 1].end_bytes == pytest.approx(len(data) * part / 40, abs=2**14)


@pytest.mark.parametrize("damage", ["cut", "changed", "not compressed"])
def test_damage_in_a_compressed_file_costs_only_what_follows(tmp_path: Path, damage: str) -> None:
    """All whole lines before the damage are rows; then the error names the last of them."""
    words = random.Random(1).sample(range(10**9), 40_000)
    data = bytearray(gzip.compress("".join(f"{word}\n" for word in words).encode()))
    half = len(data) // 2
    if damage == "changed":
        data[half : half + 99] = bytes(99)
    rows: list[Row] = []
    content = b"plain\n" if damage == "not compressed" else bytes(data[:half])
    path = write(tmp_path / "a.txt.gz", bytes(data) if damage == "changed" else content)
    with (
        pytest.raises(WrongUse, match=r"a.txt.gz is damaged") as raised,
        open_rows(InputFile(path)) as opened,
    ):
        rows.extend(opened)
    if damage == "cut":
        assert f"damaged after line {len(rows)}: " in raised.value.message
        assert len(rows) > 15_000
        assert shown(rows) == [str(word) for word in words[: len(rows)]]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    """A line longer than a bound is an error of its own, and does not fill the memory."""
    pieces = iter([b"a\n", *[b"x" * 2**16] * (MAX_LINE_BYTES // 2**16), b"x\nb"])
    rows = list(line_rows(lambda _: next(pieces, b""), "long"))
    assert shown(rows) == ["a", "!line 2 is over 16,777,216 bytes", "b"]


def test_a_line_that_fills_several_reads_is_whole() -> None:
    """A line that spans several reads stays whole."""
    long = "a" * (MAX_LINE_BYTES // 64)
    rows = list(line_rows(io.BytesIO(f"{long}\nb".encode()).read, "long"))
    assert [row.content for row in rows] == [TextInput(long), TextInput("b")]
