"""Synthetic texts for the measurement of passes."""

import numpy as np

from classwire_server.engine.packing import PackedTexts

_TEXT_TOKENS = 32
"""Largest length of the texts."""
_LAST_TOKENS = 2
"""The special tokens at the end of a text, at most."""


def sample_of(texts: PackedTexts, tokens: int) -> PackedTexts:
    """Make texts with about `tokens` tokens in total from the longest text.

    They begin and end as it does, with the special tokens of a real call, since some models read
    the last one.
    """
    last = slice(texts.bounds[-2], texts.bounds[-1])
    length = min(_TEXT_TOKENS, tokens, last.stop - last.start)
    count = max(1, tokens // length)
    tail = min(_LAST_TOKENS, length)
    cut = np.r_[0 : length - tail, -tail:0]
    return PackedTexts(
        np.tile(texts.ids[last][cut], count),
        np.tile(texts.token_type_ids[last][cut], count),
        np.arange(count + 1) * length,
        np.arange(count),
    )
