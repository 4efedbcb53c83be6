"""Sizes of the batches that CUDA graphs compute, and which batch fits which. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from classwire_server.engine.packing import PackedTexts

SMALLEST_TOKENS = 16
LARGEST_TOKENS = 4_096
"""Larger passes should keep a GPU busy for longer than Python takes to launch their kernels: an
estimate, not measured on a GPU yet.
"""
BLOCK_TOKENS = 128
"""Queries that one thread block of FlashAttention computes: a shorter text takes as long."""
SHORT_TEXT_TOKENS, LONG_TEXT_TOKENS = 16, 64
"""Tokens for each text that a bucket of short texts and one of long texts has room for."""


@dataclass(frozen=True)
class Bucket:
    """The batches that one graph computes: up to `texts` texts of up to `longest` tokens.

    `tokens` are all tokens of the row. The graph computes all of them, whatever the batch has.
    """

    texts: int
    tokens: int
    longest: int

    def holds(self, batch: PackedTexts) -> bool:
        """Whether a batch fits."""
        return (
            len(batch.ids) <= self.tokens
            and len(batch.lengths) <= self.texts
            and int(batch.lengths.max()) <= self.longest
        )

    @property
    def full_bounds(self) -> np.ndarray:
        """Bounds of a batch with as many longest texts as fit: int64, (texts + 1,)."""
        return np.minimum(np.arange(self.texts + 1) * self.longest, self.tokens)

    def bounds(self, batch: PackedTexts) -> np.ndarray:
        """Bounds of a batch that fits, followed by empty texts: int64, (texts + 1,).

        The tokens after the last bound belong to no text.
        """
        padded = np.full(self.texts + 1, len(batch.ids), np.int64)
        padded[: len(batch.bounds)] = batch.bounds
        return padded


def buckets(longest: int, largest_tokens: int = LARGEST_TOKENS) -> tuple[Bucket, ...]:
    """The buckets of a model whose texts have up to `longest` tokens, the smallest first."""
    return tuple(_buckets(longest, largest_tokens))


def _buckets(longest: int, largest_tokens: int) -> Iterator[Bucket]:
    tokens = SMALLEST_TOKENS
    while tokens <= largest_tokens:
        short, long = min(tokens, BLOCK_TOKENS, longest), min(tokens, longest)
        yield Bucket(max(1, tokens // SHORT_TEXT_TOKENS), tokens, short)
        if long > short:  # many short texts with room for long ones would be idle thread blocks
            yield Bucket(max(1, tokens // LONG_TEXT_TOKENS), tokens, long)
        tokens *= 2


def smallest(found: Sequence[Bucket], batch: PackedTexts) -> Bucket | None:
    """The first of these buckets that holds a batch; None if none does."""
    return next((bucket for bucket in found if bucket.holds(batch)), None)
