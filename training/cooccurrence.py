"""Word vectors from co-occurrence counts, which initialise the encoder's embeddings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd

WINDOW = 5
FIRST_PIECE = 5  # ids below are special tokens


def vectors(
    examples: Sequence[Sequence[int]],
    vocabulary_size: int,
    width: int,
    seed: int,
    deviation: float = 0.04,
) -> NDArray[np.float32]:
    """Return word vectors `(vocabulary, width)` by factoring a co-occurrence matrix.

    The matrix contains positive pointwise mutual information of pieces at most `WINDOW` apart;
    nearer ones weigh more (Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix
    Factorization"). Pieces that never occur and special tokens get random vectors. `deviation` is
    the standard deviation of all entries.
    """
    table = csr_matrix((vocabulary_size, vocabulary_size))
    flat = np.concatenate([np.asarray(example[1:-1]) for example in examples])  # (tokens,)
    text_of = np.repeat(np.arange(len(examples)), [len(example) - 2 for example in examples])
    for distance in range(1, WINDOW + 1):
        together = text_of[:-distance] == text_of[distance:]
        left, right = flat[:-distance][together], flat[distance:][together]
        counts = np.full(len(left), 1.0 / distance)
        table += coo_matrix((counts, (left, right)), shape=table.shape).tocsr()
    table = table + table.T
    cells = table.tocoo()
    total = cells.data.sum()
    share = np.asarray(table.sum(axis=1)).ravel() / total
    context = share**0.75 / (share**0.75).sum()
    information = np.log(cells.data / total / (share[cells.row] * context[cells.col]))
    kept = information > 0
    positive = csr_matrix(
        (information[kept], (cells.row[kept], cells.col[kept])), shape=table.shape
    )
    left_vectors, strengths, _ = randomized_svd(positive, width, random_state=seed)
    answer = left_vectors * np.sqrt(strengths)
    answer *= deviation / answer[share > 0].std()
    missing = (share == 0) | (np.arange(vocabulary_size) < FIRST_PIECE)
    answer[missing] = np.random.default_rng(seed).normal(0, deviation, (int(missing.sum()), width))
    return np.asarray(answer, dtype=np.float32)


def frequencies(examples: Sequence[Sequence[int]], vocabulary_size: int) -> NDArray[np.float32]:
    """Return the log share of each word piece, `(vocabulary,)`, with add-one smoothing."""
    counts = (
        np.bincount(
            np.concatenate([np.asarray(example) for example in examples]), minlength=vocabulary_size
        )
        + 1.0
    )
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)
