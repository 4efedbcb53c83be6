"""The rate of a job of Ray Data, and its share of a server's. Pure.

`share` raises LookupError if the result lacks what it needs.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.figures import Figure, ratio
from benchmarks.measures import Result

GOAL = 0.9
"""Least rate of a job divided by that of one server's stream."""


class ScoredBatch(NamedTuple):
    """A batch that an actor has scored, and when, in seconds of one clock."""

    actor: int
    began_s: float
    done_s: float
    tokens: int


def tokens_per_s(batches: Iterable[ScoredBatch]) -> float:
    """Return the rate of all actors while all of them work: the sum of their own rates.

    The starts of the models, and the end, when actors have nothing left to do, do not count.
    Raises ValueError if an actor has no batch in that time.
    """
    of: dict[int, list[ScoredBatch]] = defaultdict(list)
    for batch in batches:
        of[batch.actor].append(batch)
    start_s = max(min(batch.began_s for batch in each) for each in of.values())
    end_s = min(max(batch.done_s for batch in each) for each in of.values())
    rate = 0.0
    for each in of.values():
        within = [batch for batch in each if start_s <= batch.began_s and batch.done_s <= end_s]
        if not within:
            raise ValueError("too few batches: no time in which all actors work")
        began_s = min(batch.began_s for batch in within)
        done_s = max(batch.done_s for batch in within)
        rate += sum(batch.tokens for batch in within) / (done_s - began_s)
    return rate


def share(result: Result, checkpoint: str) -> Figure:
    """Return the rate of Ray Data divided by that of one server's stream."""
    taken = result["ray"]
    if taken["checkpoint"] != checkpoint:
        raise LookupError(checkpoint)
    return ratio(taken["job"], taken["server"])
