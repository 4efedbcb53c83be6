"""Scores and tokens as aligned bars and columns, as wide as the terminal."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from classwire import CandidateScore, Classification, LabelScore, Token
from classwire.escaping import visible

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST_BAR = 40
_PYTHONS_OWN = ("C.UTF-8", "C.utf8", "UTF-8")
"""Values that Python gives LC_CTYPE itself where the locale is C (PEP 538)."""
_ASCII = ("C", "POSIX")


def console(*, stderr: bool = False, plain: bool = False) -> Console:
    """Return a console that prints texts literally, without markup or emoji codes.

    A plain one writes no escape sequence, not even on a terminal. FORCE_COLOR, which notebooks set,
    gives colours to what is no terminal, but no moving bars.
    """
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    plain_options: dict[str, Any] = {"force_terminal": False, "color_system": None}
    return Console(
        stderr=stderr,
        force_interactive=None if is_terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        **(plain_options if plain else {}),
    )


def draws_unicode() -> bool:
    """Whether standard output takes characters for bars and ellipses that ASCII lacks.

    It does not where its encoding or the user's locale, such as LANG=C, has ASCII alone.
    """
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        return False
    given = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return next((each for each in given if each and each not in _PYTHONS_OWN), "") not in _ASCII


def fitted(text: str, width: int) -> str:
    """Return the visible text, cut with an ellipsis to `width` terminal cells."""
    shown = visible(text)
    if cell_len(shown) <= width:
        return shown
    ellipsis = "…" if draws_unicode() else "..."
    return set_cell_size(shown, max(width - len(ellipsis), 0)) + ellipsis


def heading(text: str, width: int) -> Text:
    """Return a text as the heading of its scores."""
    return Text(fitted(text, width), style="bold")


def score_lines(
    scores: Sequence[LabelScore | CandidateScore], activation: str, width: int, *, digits: int = 4
) -> Iterator[Text]:
    """Yield a line for each score: label, bar, number. Probabilities fill the bar at 1.

    Identity scores fill the bar at the largest absolute score; a negative score's bar is hollow.
    """
    if not scores:
        yield Text("(no label reaches the minimum score)", style="dim")
        return
    full = 1.0 if activation != "identity" else max(abs(score.score) for score in scores) or 1.0
    sign = "+" if activation == "identity" else ""
    yield from bar_lines(
        [(each.label, each.score / full, f"{each.score:{sign}.{digits}f}") for each in scores],
        width,
    )


def bar_lines(bars: Sequence[tuple[str, float, str]], width: int) -> Iterator[Text]:
    """Yield a line for each label, its share of a full bar (-1 to 1) and its number."""
    label_width = min(max(cell_len(visible(label)) for label, _, _ in bars), max(width // 3, 8))
    number_width = max(len(number) for _, _, number in bars)
    bar_width = max(min(_LONGEST_BAR, width - label_width - number_width - 4), 1)
    highest = max(share for _, share, _ in bars)
    for label, share, number in bars:
        best = share == highest
        yield Text.assemble(
            (set_cell_size(fitted(label, label_width), label_width), "bold" if best else ""),
            "  ",
            (set_cell_size(bar(share, bar_width), bar_width), "bold green" if best else "cyan"),
            "  ",
            number.rjust(number_width),
        )


def logit_lines(labels: Sequence[str], logits: Sequence[float], width: int) -> Iterator[Text]:
    """Yield a line for each label with its logit, aligned at the decimal point."""
    label_width = min(max(map(cell_len, map(visible, labels))), max(width - 16, 8))
    numbers = [f"{logit:+.6f}" for logit in logits]
    for label, number in zip(labels, numbers, strict=True):
        yield Text(
            set_cell_size(fitted(label, label_width), label_width)
            + "  "
            + number.rjust(max(map(len, numbers)))
        )


def token_blocks(tokens: Sequence[Token], mask: Sequence[int] | None, width: int) -> Iterator[Text]:
    """Yield the tokens in columns with id, type and mask, in blocks that fit the width.

    Without a mask, a column is the token and its id.
    """
    rows = {
        "token": [fitted(token.text, width // 2) for token in tokens],
        "id": [str(token.id) for token in tokens],
    }
    if mask is not None:
        rows["type"] = [str(token.token_type_id) for token in tokens]
        rows["mask"] = [str(attended) for attended in mask]
    name_width = max(map(len, rows))
    widths = [2 + max(map(cell_len, column)) for column in zip(*rows.values(), strict=True)]
    start = 0
    while start < len(tokens):
        ends = accumulate(widths[start:])
        end = start + max(1, sum(1 for _ in takewhile(lambda x: x <= width - name_width, ends)))
        if start:
            yield Text()
        for name, cells in rows.items():
            line = Text.assemble((name.ljust(name_width), "dim"))
            for place in range(start, end):
                cell = " " * (widths[place] - cell_len(cells[place])) + cells[place]
                line.append(cell, style="dim" if tokens[place].special else "")
            yield line
        start = end


def stage_lines(
    result: Classification, mask: Sequence[int], labels: Sequence[str], width: int
) -> Iterator[Text]:
    """Yield the three stages of a classification: the model's input, its logits, the scores."""
    by_id = sorted(result.scores, key=lambda score: score.label_id)
    outcome = "scores" if result.activation == "identity" else "probabilities"
    dropped = f", {result.truncated_tokens} more cut off" if result.truncated_tokens else ""
    yield _title(f"Stage 1: {len(result.tokens)} tokens, as the model reads them{dropped}")
    yield from token_blocks(result.tokens, mask, width)
    yield Text()
    yield _title("Stage 2: logits")
    yield from logit_lines(labels, result.logits, width)
    yield Text()
    yield _title(f"Stage 3: {outcome} ({result.activation})")
    yield from score_lines(by_id, result.activation, width, digits=6)


def print_lines(out: Console, lines: Iterable[Text], indent: int = 0) -> None:
    """Print lines below each other, never wrapped."""
    for line in lines:
        out.print(Text(" " * indent) + line if line else line)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def bar(share: float, width: int) -> str:
    """Return a bar of at most `width` cells; that of a negative share is hollow."""
    eighths = round(min(abs(share), 1.0) * width * 8)
    if not draws_unicode():
        return ("-" if share < 0 else "#") * round(eighths / 8)
    if share < 0:
        return "░" * round(eighths / 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
