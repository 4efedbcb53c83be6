"""Logits of texts that were computed before, within a bound of bytes."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from classwire_server.engine import Execution, Layout, Precision

from .batch import Answer, Key

ENTRY_BYTES = 600
"""What an entry takes beside its key and its logits, of Python's objects."""


class ResultCache:
    """The latest answers of one engine; the one that was not asked for the longest goes first.

    Not safe for use by several threads. `bytes` is what it holds now.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether it may hold anything."""
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
        """Keep one row of an answer.

        When another engine has computed it than those before, they are forgotten: no two answers
        for a text at a time may differ by more than callers were told. A row with a number that is
        none is not kept: it may have been an accident.
        """
        size_bytes = _bytes(key, answer)
        if size_bytes > self._max_bytes or not np.isfinite(answer.logits.values[row]).all():
            return
        latest = next(reversed(self._answers.values()), None)
        if latest is not None and _engine(latest) != _engine(answer):
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
            oldest, forgotten = self._answers.popitem(last=False)
            self.bytes -= _bytes(oldest, forgotten)


def _engine(answer: Answer) -> tuple[Precision, Execution, Layout]:
    """What logits depend on: not which of several devices it was."""
    traits = answer.logits.traits
    return traits.precision, traits.execution, traits.layout


def _bytes(key: Key, answer: Answer) -> int:
    values = answer.logits.values
    return ENTRY_BYTES + sum(map(len, key)) + int(values[0].nbytes)
