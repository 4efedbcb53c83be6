"""Token ids in batches of similar length."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """`rows` are the examples' indices; the tensors are `(texts, tokens)`, padded with 0."""

    rows: list[int]
    input_ids: Tensor
    attention_mask: Tensor


def batches(
    examples: Sequence[Sequence[int]], tokens: int, generator: random.Random | None = None
) -> Iterator[Batch]:
    """Cut examples into batches of about `tokens` tokens, padding included.

    With a generator: random order of batches, texts of similar length. Without: shortest first.
    """
    order = list(range(len(examples)))
    jitter = [generator.uniform(0.0, 6.0) if generator else 0.0 for _ in order]
    order.sort(key=lambda row: len(examples[row]) + jitter[row])
    cuts: list[list[int]] = [[]]
    widest = 0
    for row in order:
        widest = max(widest, len(examples[row]))
        if cuts[-1] and widest * (len(cuts[-1]) + 1) > tokens:
            cuts.append([])
            widest = len(examples[row])
        cuts[-1].append(row)
    if generator:
        generator.shuffle(cuts)
    for rows in cuts:
        lengths = [len(examples[row]) for row in rows]
        width = max(lengths)
        input_ids = torch.zeros(len(rows), width, dtype=torch.long)
        for line, row in enumerate(rows):
            input_ids[line, : lengths[line]] = torch.tensor(examples[row])
        mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
        yield Batch(rows, input_ids, mask)
