"""A model as an engine runs it, and the ways to cut texts into batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .exchange import Ids

Batches = Callable[[Sequence[Ids]], Iterator[Sequence[Ids]]]
"""Cuts texts into batches."""


@dataclass(frozen=True)
class Division:
    """How a model uses cores: `lanes` batches at the same time, each on `threads` threads."""

    lanes: int
    threads: int


def sorted_by(size: int, texts: Sequence[Ids]) -> Iterator[Sequence[Ids]]:
    """Cut texts into batches of `size` texts of similar length, longest first.

    Two lanes end at about the same time when the longest come first.
    """
    by_length = sorted(texts, key=len, reverse=True)
    return (by_length[start : start + size] for start in range(0, len(texts), size))


WAYS: Mapping[str, Batches] = {
    "one by one": partial(sorted_by, 1),
    "sorted by 8": partial(sorted_by, 8),
    "sorted by 32": partial(sorted_by, 32),
}
"""The ways for engines that pad, by name."""


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. Up to `lanes` threads may call `run` at the same time.

    `run` returns the logits of a batch, (texts, labels). `ways` are the batches to choose from.
    """

    run: Callable[[Sequence[Ids]], np.ndarray]
    ways: Mapping[str, Batches] = field(default_factory=lambda: WAYS)


def padded(batch: Sequence[Ids]) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and attention mask of a batch, both int64, (texts, longest)."""
    longest = max(map(len, batch))
    ids = np.zeros((len(batch), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(batch):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask
