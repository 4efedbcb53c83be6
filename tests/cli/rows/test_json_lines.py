"""Rows of JSON Lines."""

from pathlib import Path

import pytest

from classwire import TextInput
from classwire.cli.rows import Columns
from tests.cli.rows.reading import problem, rows_of, shown, write


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
        (b'{"text": "\xff"}', "line 2 is not UTF-8: byte 0xff at offset 23 (see --encoding)"),
        (b'{"text": "\\ud800"}', "line 2: 'text' has half a character"),
        (b'{"text": NaN}', "line 2 has no 'text'"),
        (b'{"text": "a", "text": "b"}', "line 2 has 'text' more than once"),
        (b'["text"]', "line 2 is no JSON object"),
    ],
    ids=range(11),
)
def test_a_bad_line_of_jsonl_is_its_own_error(tmp_path: Path, line: bytes, message: str) -> None:
    """A malformed JSONL line is an error of its row, and the next line is read."""
    path = write(tmp_path / "a.jsonl", b'{"text":"a"}\n' + line + b'\n{"text": "b"}\n')
    first, bad, last = rows_of(path)
    assert (first.content, last.content) == (TextInput("a"), TextInput("b"))
    assert problem(bad) == message


@pytest.mark.parametrize(
    "first",
    [
        b'{"other": "x"}',
        b'{"text": null}',
        b"{",
        b"[",
        b'[{"text": "x"}]',
        b"\xff",
        b'{"text": "a", "text": "b"}',
    ],
)
def test_the_first_line_of_jsonl_decides_nothing(tmp_path: Path, first: bytes) -> None:
    """A first line that is wrong, or lacks the columns, is an error of its own row."""
    lines = [first, b'{"text": "b", "id": 1}', b'{"text": "c", "pair": "d"}', b'{"id": 2}']
    path = write(tmp_path / "a.jsonl", b"\n".join(lines))
    bad, *others = rows_of(path, Columns("text", "pair", "id"))
    assert problem(bad).startswith("line 1")
    assert [row.key for row in others] == [1, None, 2]
    assert shown(others) == ["b", "c", "!line 4 has no 'text'"]
    assert others[1].content == TextInput("c", "d")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("NaN", None),
        ("-Infinity", None),
        ('["x", {"y": NaN}]', ["x", {"y": None}]),
        ("12345678901234567890", 12345678901234567890),
        ("1e999", "!"),
        ('"\\ud800"', "!"),
        ('{"\\udc80": 1}', "!"),
        ("[" * 100 + "]" * 100, "!"),
    ],
)
def test_an_id_can_always_be_written_as_json(tmp_path: Path, key: str, found: object) -> None:
    """NaN and Infinity, which JSON has not, are null; an id that JSON cannot hold is an error."""
    path = write(tmp_path / "a.jsonl", f'{{"text": "a", "id": {key}}}'.encode())
    (row,) = rows_of(path, Columns("text", key="id"))
    if found == "!":
        assert problem(row) == "line 1: 'id' is no id that JSON can hold"
    else:
        assert (row.key, row.content) == (found, TextInput("a"))
