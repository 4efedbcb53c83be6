"""Texts with more tokens than the model accepts: rejected, cut, or read in windows."""

from enum import Enum

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.windows import WindowPlan, count, lay

from .encoding import Encoding, Text, WholeInput, Windows


class Truncation(Enum):
    """How to handle a text with more tokens than the model accepts."""

    REJECT = "reject"
    DROP_END = "drop_end"
    DROP_START = "drop_start"
    WINDOWS = "windows"


Fit = Truncation | WindowPlan
"""How to handle a text that does not fit, for one call: WINDOWS with its plan."""


def too_many(message: str, field: str, tokens: int, **metadata: int) -> RequestError:
    """The error TOO_MANY_TOKENS of a text of `tokens`, with these values."""
    values = {name: str(value) for name, value in {"tokens": tokens, **metadata}.items()}
    return RequestError(
        Reason.TOO_MANY_TOKENS, message, field=field, metadata=values, tokens=tokens
    )


def too_many_tokens(tokens: int, max_tokens: int) -> RequestError:
    """The error of a text that does not fit."""
    message = f"the text has {tokens} tokens, and the model takes {max_tokens}"
    return too_many(message, "text", tokens=tokens, max_tokens=max_tokens)


def fit_text(
    whole: WholeInput, room: int, max_tokens: int, fit: Fit
) -> Encoding | Windows | RequestError:
    """The input for a text, or for one text of a pair, that has `room` for its tokens.

    `max_tokens` is the limit that leaves the room. Of a pair the other text stands whole. If it
    leaves less than a quarter, a text that does not fit is TOO_MANY_TOKENS in the field of the
    other one.
    """
    tokens, text_tokens = len(whole.ids), len(whole.text)
    if text_tokens <= room:
        return whole.encoding(range(text_tokens))
    if whole.source.text_pair is not None and 4 * room < max_tokens:
        message = (
            f"the other text of the pair leaves {max(0, room)} of {max_tokens} tokens for this "
            "one, less than a quarter"
        )
        field = Text._fields[1 - whole.sequence_index]
        return too_many(message, field, tokens=tokens, max_tokens=max_tokens)
    if isinstance(fit, WindowPlan):
        return _windows(whole, room, fit)
    if fit is Truncation.DROP_END:
        return whole.encoding(range(room), text_tokens - room)
    if fit is Truncation.DROP_START:
        return whole.encoding(range(text_tokens - room, text_tokens), text_tokens - room)
    error = too_many_tokens(tokens, max_tokens)
    error.field = Text._fields[whole.sequence_index]
    return error


def _windows(whole: WholeInput, room: int, plan: WindowPlan) -> Windows | RequestError:
    text_tokens, step = len(whole.text), plan.step(room)
    windows = count(text_tokens, room, step)
    if windows > plan.max_windows:
        return too_many(
            f"the text has {windows} windows, and the limit is {plan.max_windows}",
            Text._fields[whole.sequence_index],
            tokens=len(whole.ids),
            max_tokens=plan.tokens,
            windows=windows,
            max_windows_per_text=plan.max_windows,
        )
    runs = lay(text_tokens, room, step)
    return Windows([whole.encoding(run) for run in runs], runs, whole.sequence_index)
