"""Texts that do not fit, by the rules of the contract: read in windows, or cut at one end."""

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.limits import MAX_WINDOWS_PER_TEXT

from .encoding import UNITS, Json, Token
from .problems import invalid

FIELDS = ("text", "text_pair")
"""The fields of the two texts of a TextInput."""


@dataclass(frozen=True)
class Fit:
    """What to do with a text that does not fit: its truncation, and the limit in tokens.

    `overlap` is the number of tokens that neighbouring windows share; None for a quarter.
    """

    truncation: str
    tokens: int
    overlap: int | None = None

    @staticmethod
    def of(options: Json, max_tokens: int) -> "Fit":
        """Return the fit of a call's options."""
        windows = options.get("windows", {})
        return Fit(
            options.get("truncation", "TRUNCATION_REJECT"),
            windows.get("windowTokens") or max_tokens,
            windows.get("overlapTokens"),
        )


@dataclass(frozen=True)
class Reading:
    """The model's inputs for one text of a pair, or a text alone: one input for each window.

    `sequence` says which text was cut or read in windows. `lost` is the number of tokens that were
    cut.
    """

    sequence: int
    inputs: Sequence[tuple[Token, ...]]
    weights: Sequence[float] = (1.0,)
    lost: int = 0

    @property
    def token_count(self) -> int:
        """The sum over all windows."""
        return sum(map(len, self.inputs))


def longer(tokens: Sequence[Token]) -> int:
    """Return which text of a pair has more tokens; of equals the first."""
    first, second = (sum(token.sequence == n for token in tokens) for n in (0, 1))
    return int(second > first)


def read(tokens: Sequence[Token], sequence: int, fit: Fit, spare: int = 0) -> Reading:
    """Read one text of a pair, or a text alone; the other text stands whole.

    `spare` tokens stay free in each window. Raises Problem TOO_MANY_TOKENS.
    """
    places = [place for place, token in enumerate(tokens) if token.sequence == sequence]
    others = len(tokens) - len(places)
    room = fit.tokens - others - spare
    excess = len(places) - room
    if excess <= 0:
        return Reading(sequence, [tuple(tokens)])
    sizes = {"tokens": len(tokens), "max_tokens": fit.tokens}
    if any(token.sequence == 1 - sequence for token in tokens) and 4 * room < fit.tokens:
        raise invalid("TOO_MANY_TOKENS", FIELDS[1 - sequence], **sizes)
    if fit.truncation == "TRUNCATION_REJECT":
        raise invalid("TOO_MANY_TOKENS", FIELDS[sequence], **sizes)
    if fit.truncation != "TRUNCATION_WINDOWS":
        start = 0 if fit.truncation == "TRUNCATION_DROP_END" else excess
        kept = _kept(tokens, places, places[start : start + room])
        return Reading(sequence, [kept], lost=excess)
    overlap = room // 4 if fit.overlap is None else min(fit.overlap, room // 2)
    starts = [*range(0, excess, room - overlap), excess]
    if len(starts) > MAX_WINDOWS_PER_TEXT:
        limits = {"windows": len(starts), "max_windows_per_text": MAX_WINDOWS_PER_TEXT}
        raise invalid("TOO_MANY_TOKENS", FIELDS[sequence], **sizes, **limits)
    runs = [range(start, start + room) for start in starts]
    readers = [sum(place in run for run in runs) for place in range(len(places))]
    return Reading(
        sequence,
        [_kept(tokens, places, places[run.start : run.stop]) for run in runs],
        [sum(1 / readers[place] for place in run) for run in runs],
    )


def _kept(tokens: Sequence[Token], places: Sequence[int], kept: Sequence[int]) -> tuple[Token, ...]:
    """Return all tokens but those at `places` that are not `kept`."""
    dropped = {*places} - {*kept}
    return tuple(token for place, token in enumerate(tokens) if place not in dropped)


def window(
    tokens: Sequence[Token], texts: Sequence[str], sequence: int, unit: str, scores: Sequence[float]
) -> Json:
    """Return a TextWindow; `scores` may be empty."""
    codec, size = UNITS[unit]
    own, text = [token for token in tokens if token.sequence == sequence], texts[sequence]
    start, end = (own[0].start, own[-1].end) if own else (0, 0)
    message: Json = {
        "start": len(text[:start].encode(codec)) // size,
        "end": len(text[:end].encode(codec)) // size,
        "sequenceIndex": sequence,
        "tokenCount": len(tokens),
        "scores": list(scores),
    }
    return {key: value for key, value in message.items() if value}
