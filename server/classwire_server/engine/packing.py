"""The texts of a batch as one row of tokens, in NumPy arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np

from classwire_server.tokenization import Encoding


@dataclass(frozen=True, eq=False)
class PackedTexts:
    """Texts end to end, shortest first, so that texts of equal length are adjacent.

    `ids` and `token_type_ids` are int64, (tokens,). Text i is at bounds[i]:bounds[i + 1], where
    `bounds` is int64, (texts + 1,). `order[i]` is the index of text i in the original batch.
    """

    ids: np.ndarray
    token_type_ids: np.ndarray
    bounds: np.ndarray
    order: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, (texts,)."""
        return np.diff(self.bounds)

    def texts(self, first: int, end: int) -> "PackedTexts":
        """The packed texts first:end, in their packed order."""
        a, b = self.bounds[first], self.bounds[end]
        return PackedTexts(
            self.ids[a:b],
            self.token_type_ids[a:b],
            self.bounds[first : end + 1] - a,
            np.arange(end - first),
        )

    def halves(self) -> "tuple[PackedTexts, PackedTexts]":
        """The shorter and the longer half of the texts, of which there must be at least two."""
        texts = len(self.lengths)
        return self.texts(0, texts // 2), self.texts(texts // 2, texts)

    def unsorted(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of the packed texts in the order of the original batch."""
        result = np.empty_like(rows)
        result[self.order] = rows
        return result


def pack(encodings: Sequence[Encoding]) -> PackedTexts:
    """Pack the texts of a batch, which must hold at least one."""
    lengths = [len(encoding.ids) for encoding in encodings]
    order = sorted(range(len(encodings)), key=lengths.__getitem__)
    texts = [encodings[place] for place in order]
    return PackedTexts(
        ids=_row(chain.from_iterable(text.ids for text in texts)),
        token_type_ids=_row(chain.from_iterable(text.token_type_ids for text in texts)),
        bounds=_row(accumulate(sorted(lengths), initial=0)),
        order=_row(order),
    )


def _row(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), np.int64)
