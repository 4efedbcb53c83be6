"""Draw docs/pictures/reference-job.svg: the three stages of the reference job, with its numbers.

python -m scripts.picture HOST:PORT
"""

import sys
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from classwire import Classification, Client, Tokenization

from .pages import ROOT

FILE = ROOT / "docs" / "pictures" / "reference-job.svg"
TEXT = "I really love this book"
EQUAL = "left and right are equal: the tokens exactly, the numbers to 1e-5"

WIDTH, HEIGHT, MIDDLE = 980, 600, 490
INK, SOFT, RULE, ACCENT, TINT = "#24292f", "#6e7781", "#d0d7de", "#1f6f8b", "#e6f1f4"
COLUMN = 84
"""Pixels between neighbouring labels, and between neighbouring tokens."""
UNIT, FULL = 28, 150
"""Pixels per unit of logit, and per unit of probability."""
TOKENS, LOGITS, SCORES = 132, 338, 540
"""Vertical positions: top of the tokens, line of logit 0, foot of the probability bars."""


def draw(text: str, seen: Tokenization, result: Classification) -> str:
    """Return the SVG for a text, its tokens, and its classification with logits."""
    by_id = sorted(result.scores, key=lambda score: score.label_id)
    body = [
        *_head(text),
        *_tokens(seen),
        *_arrow(232, 262, "the model"),
        *_logits(result.logits),
        *_arrow(394, 424, result.activation),
        *_scores([score.score for score in by_id], [score.label for score in by_id]),
        *_sides(TOKENS + 36, "1  model input", "tokenizer(text)", "client.tokenize(text)"),
        *_sides(LOGITS, "2  logits", "model(**inputs).logits", "result.logits"),
        *_sides(
            SCORES - 40, "3  probabilities", f"logits.{result.activation}(-1)", "result.scores"
        ),
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" '
            f'font-size="14" text-anchor="middle" fill="{INK}">',
            f"<title>{escape(text)}: tokens, logits, probabilities; direct and served</title>",
            _rect(0, 0, WIDTH, HEIGHT, radius=12, fill="white"),
            *body,
            _text(MIDDLE, HEIGHT - 14, EQUAL, size=12, fill=SOFT),
            "</svg>\n",
        )
    )


def _head(text: str) -> Iterator[str]:
    for x, name, how in (
        (125, "direct use", "transformers, in your process"),
        (WIDTH - 125, "served", "Classwire, in any language"),
    ):
        yield _text(x, 46, name, size=17, weight="bold")
        yield _text(x, 66, how, size=12, fill=SOFT)
    yield _rect(MIDDLE - 135, 28, 270, 40, radius=20, fill=INK)
    yield _text(MIDDLE, 53, text, size=16, fill="white")
    yield from _arrow(76, 116, "the tokenizer")


def _tokens(seen: Tokenization) -> Iterator[str]:
    tokens = seen.tokens
    rows = {
        "": [token.text for token in tokens],
        "id": [str(token.id) for token in tokens],
        "type": [str(token.token_type_id) for token in tokens],
        "mask": [str(attended) for attended in seen.attention_mask],
    }
    width = min(66, 460 // len(tokens))
    left = MIDDLE - width * len(tokens) / 2
    for place, token in enumerate(tokens):
        x, fill = left + width * place, RULE if token.special else TINT
        yield _rect(x + 3, TOKENS, width - 6, 28, radius=5, fill=fill)
    for line, (name, cells) in enumerate(rows.items()):
        y = TOKENS + 19 + 24 * line
        yield _text(left - 12, y, name, size=12, fill=SOFT, anchor="end")
        for place, cell in enumerate(cells):
            yield _text(left + width * (place + 0.5), y, cell, size=13)


def _logits(logits: Sequence[float]) -> Iterator[str]:
    best = max(logits)
    yield _line(_x(0, len(logits)) - 36, LOGITS, _x(len(logits) - 1, len(logits)) + 36, LOGITS)
    for place, logit in enumerate(logits):
        x, size = _x(place, len(logits)), UNIT * abs(logit)
        y = LOGITS - size if logit > 0 else LOGITS
        yield _bar(x, y, size, is_best=logit == best)
        yield _text(x, y - 6 if logit > 0 else y + size + 15, f"{logit:+.3f}", size=12)


def _scores(scores: Sequence[float], labels: Sequence[str]) -> Iterator[str]:
    best = max(scores)
    for place, (score, label) in enumerate(zip(scores, labels, strict=True)):
        x, size = _x(place, len(scores)), FULL * score
        weight = "bold" if score == best else "normal"
        yield _bar(x, SCORES - size, size, is_best=score == best)
        yield _text(x, SCORES - size - 6, f"{score:.3f}", size=12, weight=weight)
        yield _text(x, SCORES + 20, label, size=13, weight=weight)
    yield _line(_x(0, len(scores)) - 36, SCORES, _x(len(scores) - 1, len(scores)) + 36, SCORES)


def _sides(y: float, stage: str, direct: str, served: str) -> Iterator[str]:
    for x, code in ((125, direct), (WIDTH - 125, served)):
        yield _text(x, y - 26, stage, size=12, fill=SOFT)
        yield _rect(x - 95, y - 16, 190, 32, radius=6, fill=RULE)
        yield _rect(x - 94, y - 15, 188, 30, radius=5, fill="white")
        yield _text(x, y + 4, code, size=13, family="Menlo, Consolas, monospace")


def _arrow(top: float, tip: float, name: str) -> Iterator[str]:
    yield _line(MIDDLE, top, MIDDLE, tip - 6, stroke=SOFT)
    yield f'<path d="M{MIDDLE} {tip} l-5 -8 h10 Z" fill="{SOFT}"/>'
    yield _text(MIDDLE + 14, (top + tip) / 2 + 4, name, size=13, fill=SOFT, anchor="start")


def _x(place: int, count: int) -> float:
    """Return the middle of a column, in pixels."""
    return MIDDLE + COLUMN * (place - (count - 1) / 2)


def _bar(x: float, y: float, height: float, *, is_best: bool) -> str:
    return _rect(x - 24, y, 48, height, radius=2, fill=ACCENT if is_best else RULE)


def _rect(x: float, y: float, width: float, height: float, *, radius: int, fill: str) -> str:
    size = f'width="{width:g}" height="{height:.1f}"'
    return f'<rect x="{x:g}" y="{y:.1f}" {size} rx="{radius}" fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = RULE) -> str:
    return f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" stroke="{stroke}" stroke-width="1.5"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    fill: str = "",
    weight: str = "",
    anchor: str = "",
    family: str = "",
) -> str:
    named = {"fill": fill, "font-weight": weight, "text-anchor": anchor, "font-family": family}
    given = "".join(f' {name}="{value}"' for name, value in named.items() if value)
    return f'<text x="{x:g}" y="{y:.1f}" font-size="{size}"{given}>{escape(text)}</text>'


def drawn(target: str) -> str:
    """Return the SVG for the answers of a server with the embedded checkpoint."""
    with Client(target) as client:
        return draw(TEXT, client.tokenize(TEXT), client.classify(TEXT, include_logits=True))


if __name__ == "__main__":
    FILE.write_text(drawn(sys.argv[1]), encoding="utf-8")
