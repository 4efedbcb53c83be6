"""Buckets of CUDA graphs: which batch goes into which, and how it fills it."""

import numpy as np
import pytest

from classwire_server.engine.forward.buckets import Bucket, buckets, smallest
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.tokenization import Encoding, Text


def batch_of(*lengths: int) -> PackedTexts:
    """A batch of texts of these lengths in tokens."""
    return pack([Encoding([7] * n, [0] * n, 0, Text("")) for n in lengths])


@pytest.mark.parametrize(
    ("lengths", "bucket"),
    [
        ([3], Bucket(1, 16, 16)),
        ([16], Bucket(1, 16, 16)),
        ([17], Bucket(2, 32, 32)),
        ([8, 8], Bucket(2, 32, 32)),  # a bucket of 16 tokens has room for one text
        ([128], Bucket(8, 128, 128)),
        ([129], Bucket(4, 256, 256)),
        ([60, 60, 60, 60], Bucket(16, 256, 128)),
        ([200, 3, 3, 3, 3], Bucket(8, 512, 512)),  # one of 256 has room for four long texts
        ([512] * 8, Bucket(64, 4_096, 512)),
    ],
)
def test_the_smallest_that_holds_a_batch(lengths: list[int], bucket: Bucket) -> None:
    """A batch goes into the first bucket that has room for its texts, tokens and longest text."""
    assert smallest(buckets(512), batch_of(*lengths)) == bucket


@pytest.mark.parametrize("lengths", [[4_097], [512] * 9, [3] * 257, [1] * 300 + [400]])
def test_no_bucket(lengths: list[int]) -> None:
    """A batch with too many tokens, too many texts or a text too long goes into none."""
    assert smallest(buckets(512), batch_of(*lengths)) is None


def test_few_and_rising() -> None:
    """There are few buckets, each smaller or equal in tokens to the next, and each has room for one
    text of the model's longest or of all its tokens.
    """
    found = buckets(512)
    assert len(found) == 14
    assert [bucket.tokens for bucket in found] == sorted(bucket.tokens for bucket in found)
    for length in range(1, 513):
        assert smallest(found, batch_of(length)) is not None


def test_a_model_of_short_texts() -> None:
    """No bucket has room for longer texts than the model takes."""
    assert {bucket.longest for bucket in buckets(64)} == {16, 32, 64}


def test_the_rest_of_a_bucket_is_empty_texts() -> None:
    """The bounds of a batch are followed by empty texts, so tokens after the batch are in none."""
    bounds = Bucket(5, 32, 32).bounds(batch_of(4, 3))
    assert bounds.dtype == np.int64
    assert bounds.tolist() == [0, 3, 7, 7, 7, 7]


def test_full_bounds_have_the_longest_text() -> None:
    """A graph is recorded with a text of the bucket's longest length, and within its tokens."""
    for bucket in buckets(512):
        lengths = np.diff(bucket.full_bounds)
        assert lengths.max() == bucket.longest
        assert lengths.min() >= 0
        assert bucket.full_bounds[-1] <= bucket.tokens
        assert len(lengths) == bucket.texts
