"""Random texts as token ids, and ways to batch them."""

from collections.abc import Iterator, Sequence

import numpy as np

from classwire_server.tokenization import Encoding, Text

FIRST_ORDINARY_ID = 5


def encodings(lengths: Sequence[int], vocabulary: int = 6_000) -> list[Encoding]:
    """Return random texts of these lengths in tokens, with ids below `vocabulary`."""
    generator = np.random.default_rng(1)
    return [
        Encoding(
            generator.integers(FIRST_ORDINARY_ID, vocabulary, size=n).tolist(), [0] * n, 0, Text("")
        )
        for n in lengths
    ]


def batches(texts: Sequence[Encoding], most_tokens: int) -> Iterator[list[Encoding]]:
    """Cut texts, in order, into batches as the server's queue does; a batch has at least one."""
    batch: list[Encoding] = []
    tokens = 0
    for text in texts:
        if batch and tokens + len(text.ids) > most_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += len(text.ids)
    if batch:
        yield batch


def padded(texts: Sequence[Encoding]) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and attention mask of a batch, both (texts, longest)."""
    longest = max(len(text.ids) for text in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = text.ids
        mask[row, : len(text.ids)] = 1
    return ids, mask


def in_batches(texts: Sequence[Encoding], size: int) -> Iterator[Sequence[Encoding]]:
    """Cut texts, in order, into batches of `size` texts."""
    return (texts[start : start + size] for start in range(0, len(texts), size))
