"""Windows by direct use of transformers: its tokenizer's ids sliced, its logits averaged."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from tests.parity.direct import Direct


class Expected(NamedTuple):
    """What the server must answer: a row a window, and the weight of each window in the mean."""

    logits: torch.Tensor  # (windows, labels)
    weights: torch.Tensor  # (windows,)
    token_counts: list[int]

    @property
    def mean(self) -> torch.Tensor:
        """The averaged logits: (labels,)."""
        return (self.weights[:, None] * self.logits).sum(0) / self.weights.sum()


@torch.inference_mode()
def windows(
    direct: Direct,
    texts: Sequence[str],
    size: int,
    overlap: int | None = None,
    read: int | None = None,
    room: int | None = None,
) -> Expected:
    """The windows of one text or pair. `read` is the text to read in windows, else the longer."""
    whole = direct.tokenizer(*texts)
    names = [name for name in ("input_ids", "token_type_ids") if name in whole]
    ids = [direct.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    if read is None:
        read = int(len(ids) > 1 and len(ids[1]) > len(ids[0]))
    tokens, total = len(ids[read]), len(whole["input_ids"])
    first = 0 if read == 0 else len(ids[0])
    start = next(
        at for at in range(first, total) if whole["input_ids"][at : at + tokens] == ids[read]
    )
    room = min(tokens, size - (total - tokens)) if room is None else min(tokens, room)
    step = room - (room // 4 if overlap is None else min(overlap, room // 2))
    starts = [
        min(number * step, tokens - room) for number in range(1 + math.ceil((tokens - room) / step))
    ]
    readers = [sum(at <= token < at + room for at in starts) for token in range(tokens)]
    rows = []
    for at in starts:
        kept = [*range(start), *range(start + at, start + at + room), *range(start + tokens, total)]
        inputs = {name: torch.tensor([[whole[name][place] for place in kept]]) for name in names}
        rows.append(direct.model(**inputs).logits[0])
    weights = [sum(1 / readers[token] for token in range(at, at + room)) for at in starts]
    return Expected(
        torch.stack(rows).double(),
        torch.tensor(weights, dtype=torch.float64),
        [room + total - tokens] * len(starts),
    )
