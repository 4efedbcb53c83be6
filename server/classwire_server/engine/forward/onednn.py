"""Shared parts of products with weights in oneDNN's own layouts.

No graph can hold such weights. The product is therefore a custom operator that finds its weights by
a digest of their values. So a compiled artefact fits any process that has loaded the same
checkpoint, and one process can hold several models.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import torch
from torch.nn import functional

from .preemption import PREEMPTION

Weights = TypeVar("Weights")


class WeightTable(Generic[Weights]):
    """The weights of one kind of layer in this process, by digest.

    An entry lives as long as a layer refers to it. Equal weights are one object.
    """

    def __init__(self) -> None:
        self._weights: WeakValueDictionary[int, Weights] = WeakValueDictionary()

    def of(self, plain: tuple[torch.Tensor, ...], pack: Callable[[int], Weights]) -> Weights:
        """The packed weights of these contiguous tensors, made by `pack` unless they exist.

        `pack` gets the digest: 63 bits of a hash of the tensors, the same in every process.
        """
        hashed = blake2b(repr(tuple(plain[0].shape)).encode(), digest_size=8)
        for tensor in plain:
            hashed.update(tensor.numpy().data)
        digest = int.from_bytes(hashed.digest(), "big") >> 1
        weights = self._weights.get(digest)
        if weights is None:
            weights = self._weights[digest] = pack(digest)
        return weights

    def __getitem__(self, digest: int) -> Weights:
        """The weights with this digest. Raises KeyError when no model of this process has them."""
        return self._weights[digest]


def in_steps(product: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    """Apply a product of rows, (rows, inputs) -> (rows, outputs), to states of any shape.

    (..., inputs) -> (..., outputs). oneDNN builds a kernel, in half a millisecond or more, for each
    new number of rows. Rows are therefore padded to one of 16 numbers between two powers of two.
    Urgent passes preempt here.
    """
    PREEMPTION.preemption_point()
    rows = states.reshape(-1, states.shape[-1])  # (tokens, inputs)
    tokens = len(rows)
    step = 1 << max(0, (tokens - 1).bit_length() - 5)
    spare = -tokens % step
    if spare:
        rows = functional.pad(rows, (0, 0, 0, spare))  # (tokens + spare, inputs)
    result = product(rows)[:tokens]  # (tokens, outputs)
    return result.view(*states.shape[:-1], result.shape[-1])  # (..., outputs)
