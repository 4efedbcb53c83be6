"""Bars and tokens as the terminal shows them."""

import pytest
from rich.cells import cell_len

from classwire import LabelScore, Token
from classwire.cli.rendering import bar, fitted, score_lines, token_blocks
from classwire.escaping import visible

SCORES = (LabelScore("5 stars", 4, 0.75), LabelScore("1 star", 0, 0.25))


def token(text: str, special: bool = False) -> Token:
    """Return a token whose other fields do not matter."""
    return Token(
        id=7, text=text, start=0, end=0, special=special, token_type_id=0, sequence_index=0
    )


@pytest.mark.parametrize("width", [30, 50])
def test_bars_are_aligned_proportional_and_fill_the_width(width: int) -> None:
    """Labels, bars and numbers are aligned, and a bar fills the width at a score of 1."""
    first, second = [line.plain for line in score_lines(SCORES, "softmax", width)]
    room = width - len("5 stars") - len("0.7500") - 4
    assert first.startswith("5 stars  " + "█" * int(room * 0.75))
    assert second.startswith("1 star   " + "█" * int(room * 0.25))
    assert (first[-6:], second[-6:]) == ("0.7500", "0.2500")
    assert len(first) == len(second) == width


def test_scores_below_zero_are_hollow_and_drawn_against_the_largest() -> None:
    """Scores of the identity activation scale to the largest absolute one; negative bars are
    hollow.
    """
    scores = (LabelScore("a", 0, 2.0), LabelScore("b", 1, -4.0))
    first, second = [line.plain for line in score_lines(scores, "identity", 32)]
    assert first.count("█") * 2 == second.count("░") > 0
    assert first.endswith("+2.0000")
    assert second.endswith("-4.0000")


def test_no_score_is_stated_in_words() -> None:
    """A result without scores is stated in words."""
    (line,) = score_lines((), "softmax", 40)
    assert "no label" in line.plain


def test_wide_labels_stay_aligned() -> None:
    """Widths count terminal cells, not characters."""
    scores = (LabelScore("最高", 0, 0.9), LabelScore("low", 1, 0.1))
    lines = [line.plain for line in score_lines(scores, "softmax", 40)]
    assert [cell_len(line) for line in lines] == [40, 40]


def test_text_cannot_drive_the_terminal() -> None:
    """Control characters, unpaired surrogates and direction overrides are escaped."""
    assert visible("a\x1b[31m\n\u202e\ud800") == "a\\x1b[31m\\n\\u202e\\ud800"
    assert visible("👩‍🚀 é שלום") == "👩‍🚀 é שלום"
    assert fitted("abcdef", 4) == "abc…"


def test_tokens_wrap_in_blocks_that_fit() -> None:
    """Each token stands above its id, type and mask, at any terminal width."""
    tokens = [token("[CLS]", special=True), *(token(f"word{n}") for n in range(9))]
    lines = [line.plain for line in token_blocks(tokens, [1] * 10, 30)]
    assert max(map(len, lines)) <= 30
    names = [line.split()[0] if line else "" for line in lines]
    assert names[:6] == ["token", "id", "type", "mask", "", "token"]
    shown = [word for line in lines if line.startswith("token") for word in line.split()[1:]]
    assert shown == [token.text for token in tokens]
    assert lines[0].index("[CLS]") + 5 == lines[1].index("7") + 1


@pytest.mark.parametrize(
    ("locale", "is_unicode"),
    [
        ({}, True),
        ({"LANG": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, True),
        ({"LC_ALL": "de_DE.UTF-8", "LANG": "C"}, True),
    ],
    ids=str,
)
def test_ascii_where_the_locale_has_no_more(
    monkeypatch: pytest.MonkeyPatch, locale: dict[str, str], is_unicode: bool
) -> None:
    """With LANG=C bars and ellipses are ASCII. What Python sets LC_CTYPE to by itself, which it
    passes on to programs that it starts, does not count.
    """
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    assert bar(0.5, 8) == ("████" if is_unicode else "####")
    assert fitted("abcdef", 4) == ("abc…" if is_unicode else "a...")
    assert fitted("abcd", 4) == "abcd"
