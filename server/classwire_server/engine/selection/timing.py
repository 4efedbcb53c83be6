"""Timing of an engine on synthetic texts."""

import numpy as np

from classwire_server.engine.packing import PackedTexts

TEXT_TOKENS = 32
"""Largest length of the texts that engines are timed on."""


def sample_of(texts: PackedTexts, tokens: int) -> PackedTexts:
    """Make texts with about `tokens` tokens in total, from the start of the longest text."""
    longest = texts.ids[texts.bounds[-2] :][: min(TEXT_TOKENS, tokens)]
    length = len(longest)
    count = max(1, tokens // length)
    return PackedTexts(
        np.tile(longest, count),
        np.zeros(count * length, np.int64),
        np.arange(count + 1) * length,
        np.arange(count),
    )
