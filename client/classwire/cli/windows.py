"""The windows of a long text: which label is high where."""

from collections.abc import Iterator, Sequence

from rich.cells import set_cell_size
from rich.text import Text

from classwire import Classification, TextInput, TextWindow

from .rendering import bar, fitted, heading, score_lines

_CELL = 12
"""Width of a label's column: its name, or a number and a bar."""
_LEAST_EXCERPT = 12
"""An excerpt of fewer cells than this is left out."""


def classification_lines(
    result: Classification, text: TextInput, labels: Sequence[str], width: int
) -> Iterator[Text]:
    """Yield the windows of a text, if it has several, and below them the scores of the whole."""
    if len(result.windows) > 1:
        yield from window_lines(result, text, labels, width)
        yield Text()
        whole = f"whole text: {result.window_count} windows, {result.aggregation}"
        yield heading(whole, width)
    yield from score_lines(result.scores, result.activation, width)
    if result.window_count > 1 and not result.windows:
        yield Text(f"({result.window_count} windows, {result.aggregation})", style="dim")


def window_lines(
    result: Classification, text: TextInput, labels: Sequence[str], width: int
) -> Iterator[Text]:
    """Yield a line for each window: its place, a bar for each label, and how it begins.

    If the labels do not fit, it shows those that are highest in any window.
    """
    windows = result.windows
    read = (text.text_pair if windows[0].sequence_index else text.text) or ""
    places = [f"{window.start}-{window.end}" for window in windows]
    place_width = max(map(len, places))
    fitting = max((width - place_width) // (_CELL + 2), 1)
    peaks = [max(scores) for scores in zip(*(window.scores for window in windows), strict=True)]
    names = {each.label_id: each.label for each in result.scores} | dict(enumerate(labels))
    shown = sorted(sorted(range(len(peaks)), key=lambda id_: -peaks[id_])[:fitting])
    yield _header(place_width, [names.get(id_, str(id_)) for id_ in shown])
    full = 1.0
    if result.activation == "identity":
        full = max(abs(score) for window in windows for score in window.scores) or 1.0
    room = width - place_width - len(shown) * (_CELL + 2) - 2
    for place, window in zip(places, windows, strict=True):
        line = Text(place.rjust(place_width))
        best = max(window.scores)
        for id_ in shown:
            score = window.scores[id_]
            number = f"{score:+.2f}" if result.activation == "identity" else f"{score:.2f}"
            cell = f"{number} {bar(score / full, _CELL - len(number) - 1)}"
            style = "bold green" if score == best else "cyan"
            line.append("  ").append(set_cell_size(cell, _CELL), style)
        if room >= _LEAST_EXCERPT:
            line.append("  ").append(fitted(_excerpt(read, window), room), "dim")
        line.rstrip()
        yield line
    if len(shown) < len(peaks):
        yield Text(f"({len(peaks) - len(shown)} more labels are lower)", style="dim")


def _header(place_width: int, labels: Sequence[str]) -> Text:
    line = Text(" " * place_width, style="dim")
    for label in labels:
        line.append("  " + set_cell_size(fitted(label, _CELL), _CELL))
    line.rstrip()
    return line


def _excerpt(text: str, window: TextWindow) -> str:
    """The window's words, without the rest of a word that the window before began."""
    words = text[window.start : window.end].split()
    if window.start and not text[window.start - 1].isspace() and len(words) > 1:
        del words[0]
    return " ".join(words)
