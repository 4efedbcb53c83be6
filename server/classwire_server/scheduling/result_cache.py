"""LRU cache of logits, bounded in bytes."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from classwire_server.engine import Execution, Layout, Precision

from .batch import Answer, Key

ENTRY_BYTES = 600
"""Python's overhead of an entry, without its key and logits."""


class ResultCache:
    """LRU cache of one engine's answers.

    Not safe for use by several threads. `bytes` is its current size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    @property
    def is_enabled(self) -> bool:
        """Whether the cache may hold anything."""
        return self._max_bytes > 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Answer | None:
        """The answer for a key, if there is one."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer, row: int) -> None:
        """Cache one row of an answer.

        An answer of another engine evicts all others, so that cached answers stay within the
        deviation that the server reports. A row with NaN or infinity is not cached: it may have
        been a fault of the device.
        """
        size_bytes = _bytes(key, answer)
        if size_bytes > self._max_bytes or not np.isfinite(answer.logits.values[row]).all():
            return
        latest = next(reversed(self._answers.values()), None)
        if latest is not None and _numerics(latest) != _numerics(answer):
            self._answers.clear()
            self.bytes = 0
        if key in self._answers:
            self.bytes -= size_bytes
        values = answer.logits.values[row : row + 1].copy()
        logits = replace(answer.logits, values=values, inference_s=0.0)
        self._answers[key] = Answer(logits, 0.0, batch_texts=0, batch_tokens=0)
        self._answers.move_to_end(key)
        self.bytes += size_bytes
        while self.bytes > self._max_bytes:
            oldest, evicted = self._answers.popitem(last=False)
            self.bytes -= _bytes(oldest, evicted)


def _numerics(answer: Answer) -> tuple[Precision, Execution, Layout]:
    """The traits that the logits depend on; the device is not one of them."""
    traits = answer.logits.traits
    return traits.precision, traits.execution, traits.layout


def _bytes(key: Key, answer: Answer) -> int:
    values = answer.logits.values
    return ENTRY_BYTES + sum(map(len, key)) + int(values[0].nbytes)
