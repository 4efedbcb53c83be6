"""Timing of an engine on synthetic texts."""

import math
import statistics
import time

import numpy as np

from classwire_server.engine.forward.runner import Runner
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
