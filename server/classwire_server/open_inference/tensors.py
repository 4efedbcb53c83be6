"""The tensors of a text classifier, and their elements as bytes."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

LENGTH_BYTES = 4
"""Size of the length, little-endian, that precedes each element of a BYTES tensor."""


class Tensor(NamedTuple):
    """A tensor of a model; its first dimension is the number of texts."""

    name: str
    datatype: str


TEXT = Tensor("text", "BYTES")
TEXT_PAIR = Tensor("text_pair", "BYTES")
SCORES = Tensor("scores", "FP32")
LABEL = Tensor("label", "BYTES")
LABEL_ID = Tensor("label_id", "INT32")

INPUTS = {tensor.name: tensor for tensor in (TEXT, TEXT_PAIR)}
OUTPUTS = {tensor.name: tensor for tensor in (SCORES, LABEL, LABEL_ID)}


def elements(raw: bytes, count: int) -> list[bytes]:
    """The elements of a BYTES tensor. Raises ValueError unless it has exactly `count`."""
    result = []
    start = 0
    for _ in range(count):
        end = start + LENGTH_BYTES
        stop = end + int.from_bytes(raw[start:end], "little")
        if end > len(raw) or stop > len(raw):
            raise ValueError("ends too early")
        result.append(raw[end:stop])
        start = stop
    if start != len(raw):
        raise ValueError("has bytes after its last element")
    return result


def raw_texts(texts: Iterable[str]) -> bytes:
    """The elements of a BYTES tensor as bytes."""
    encoded = [text.encode() for text in texts]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in encoded)


def raw_numbers(values: np.ndarray) -> bytes:
    """The elements of an FP32 or INT32 tensor as bytes, row-major."""
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
