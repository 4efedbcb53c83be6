"""What products with weights in oneDNN's own layouts have in common.

No graph can hold such weights. The product is a custom operator therefore, and its weights stay
outside: the operator finds them by a digest of what they are. So a compiled artefact fits any
process that has loaded the same checkpoint, and several models live side by side.
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
    """The weights of one kind of layer in this process, found by digest.

    They are there for as long as a layer refers to them; equal weights are one object.
    """

    def __init__(self) -> None:
        self._weights: WeakValueDictionary[int, Weights] = WeakValueDictionary()

    def of(self, plain: tuple[torch.Tensor, ...], pack: Callable[[int], Weights]) -> Weights:
        """The weights that these contiguous tensors are, packed unless they are there already.

        `pack` gets the digest: 63 bits of what the tensors are, the same in every process.
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
        """The weights with this digest; raises KeyError when no model of this process has them."""
        return self._weights[digest]


def in_steps(product: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    """A product of rows, (rows, inputs) -> (rows, outputs), of (..., inputs) -> (..., outputs).

    oneDNN builds a kernel, in half a millisecond or more, for every number of rows that it sees: it
    sees 16 numbers between a power of two and the next. Urgent passes have the right of way here.
    """
    PREEMPTION.give_way()
    rows = states.reshape(-1, states.shape[-1])  # (tokens, inputs)
    tokens = len(rows)
    step = 1 << max(0, (tokens - 1).bit_length() - 5)
    spare = -tokens % step
    if spare:
        rows = functional.pad(rows, (0, 0, 0, spare))
    result = product(rows)[:tokens]
    return result.view(*states.shape[:-1], result.shape[-1])
