"""Timing of an engine on synthetic texts."""

import math
import statistics
import time

import numpy as np

from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts

TEXT_TOKENS = 32
"""Largest length of the texts that engines are timed on."""
_LAST_TOKENS = 2
"""The special tokens at the end of a text, at most."""


def sample_of(texts: PackedTexts, tokens: int) -> PackedTexts:
    """Make texts with about `tokens` tokens in total from the longest text.

    They begin and end as it does, with the special tokens of a real call, since some models read
    the last one.
    """
    last = slice(texts.bounds[-2], texts.bounds[-1])
    length = min(TEXT_TOKENS, tokens, last.stop - last.start)
    count = max(1, tokens // length)
    tail = min(_LAST_TOKENS, length)
    cut = np.r_[0 : length - tail, -tail:0]
    return PackedTexts(
        np.tile(texts.ids[last][cut], count),
        np.tile(texts.token_type_ids[last][cut], count),
        np.arange(count + 1) * length,
        np.arange(count),
    )


def median_s(runner: Runner, texts: PackedTexts, at_most_s: float = math.inf) -> float:
    """The median time of up to three runs, in seconds, after a warm-up run.

    Starts no further run once the runs have taken longer than `at_most_s` in total.
    """
    runner.run(texts)
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) <= at_most_s:
        started_s = time.perf_counter()
        runner.run(texts)
        seconds.append(time.perf_counter() - started_s)
    return statistics.median(seconds)
