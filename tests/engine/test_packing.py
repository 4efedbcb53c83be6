"""The texts of a batch in one row of tokens."""

import numpy as np

from classwire_server.engine.packing import pack
from classwire_server.tokenization import Encoding, Text


def _encoding(*ids: int) -> Encoding:
    return Encoding(list(ids), [id_ % 2 for id_ in ids], 0, Text("x"), None)


BATCH = [_encoding(1, 2, 3), _encoding(4), _encoding(5, 6, 7), _encoding(8, 9)]


def test_shortest_first_and_back() -> None:
    """Texts are sorted stably by length, and `unsorted` restores the original order."""
    packed = pack(BATCH)
    assert packed.ids.tolist() == [4, 8, 9, 1, 2, 3, 5, 6, 7]
    assert packed.token_type_ids.tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 1]
    assert packed.bounds.tolist() == [0, 1, 3, 6, 9]
    assert packed.lengths.tolist() == [1, 2, 3, 3]
    firsts = packed.ids[packed.bounds[:-1]]
    assert packed.unsorted(firsts).tolist() == [1, 4, 5, 8]
    assert {packed.ids.dtype, packed.token_type_ids.dtype, packed.bounds.dtype} == {
        np.dtype(np.int64)
    }


def test_halves() -> None:
    """`halves` divides a batch into its shorter and its longer texts."""
    shorter, longer = pack(BATCH).halves()
    assert shorter.ids.tolist() == [4, 8, 9]
    assert shorter.bounds.tolist() == [0, 1, 3]
    assert longer.ids.tolist() == [1, 2, 3, 5, 6, 7]
    assert longer.token_type_ids.tolist() == [1, 0, 1, 1, 0, 1]
    assert longer.bounds.tolist() == [0, 3, 6]
