"""What waits for the device, and in which order it goes. Pure: no threads, no torch, no transport.

The clock is passed in as `now_s`, in seconds of any monotonic clock.
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Logits
    from .tokenization import Encoding


class Priority(Enum):
    """Which work goes first; the value is the head start that others have over it, in seconds.

    A head start is ageing and priority in one: bulk work that has waited longer than the head start
    goes before interactive work that has just come, so it is never starved.
    """

    INTERACTIVE = 0.0
    BULK = 5.0


@dataclass(frozen=True, eq=False)
class Answer:
    """What the engine said of a batch, shared by its texts: each has a row of `logits.values`.

    `began_s` is the instant at which the device began; `batch_texts` and `batch_tokens` are the
    size of the batch.
    """

    logits: "Logits"
    began_s: float
    batch_texts: int
    batch_tokens: int


@dataclass(eq=False, slots=True)
class Pending:
    """One text that waits for the device.

    `deadline_s` is an instant of the monotonic clock, math.inf for none. The text ends once, with
    an `answer`, in which it has the `row`, or an `error`; then it is put into the `inbox` of those
    who wait for it, in a list with others that ended with it.
    """

    encoding: "Encoding"
    priority: Priority
    inbox: "SimpleQueue[list[Any]]"
    deadline_s: float = math.inf
    queued_s: float = 0.0
    answer: Answer | None = None
    row: int = 0
    error: BaseException | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens of the text."""
        return len(self.encoding.ids)

    @property
    def ended(self) -> bool:
        """Whether there is an answer or an error."""
        return self.answer is not None or self.error is not None


class Queue:
    """Texts that wait for one device, bounded in tokens.

    Not safe for use by several threads: its owner holds a lock around each call.
    """

    def __init__(self, max_tokens: int) -> None:
        self.tokens = 0
        self.tokens_per_s = 0.0
        self.earliest_deadline_s = math.inf
        self._max_tokens = max_tokens
        self._heap: list[tuple[float, int, Pending]] = []
        self._waiting: set[Pending] = set()
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, tokens: int, priority: Priority) -> bool:
        """Whether so many tokens more may wait.

        Bulk work may fill half of the queue, so that there is room for interactive work. An empty
        queue takes anything, so that no call is too large ever to be served.
        """
        bound = self._max_tokens if priority is Priority.INTERACTIVE else self._max_tokens // 2
        return not self._waiting or self.tokens + tokens <= bound

    def add(self, pending: Pending, now_s: float) -> None:
        """Let a text wait. The caller has asked has_room."""
        pending.queued_s = now_s
        rank = now_s + pending.priority.value
        heapq.heappush(self._heap, (rank, next(self._order), pending))
        self._waiting.add(pending)
        self.tokens += pending.tokens
        self.earliest_deadline_s = min(self.earliest_deadline_s, pending.deadline_s)

    def remove(self, pending: Pending) -> bool:
        """Take a text out; False when it no longer waits."""
        if pending not in self._waiting:
            return False
        self._discard(pending)
        if len(self._heap) > 2 * len(self._waiting) + 64:
            self._heap = [entry for entry in self._heap if entry[2] in self._waiting]
            heapq.heapify(self._heap)
        return True

    def expire(self, now_s: float) -> list[Pending]:
        """Take out all texts whose deadline has passed.

        No deadline passes before `earliest_deadline_s`, so until then there is nothing to do.
        """
        if now_s < self.earliest_deadline_s:
            return []
        expired = [pending for pending in self._waiting if pending.deadline_s <= now_s]
        for pending in expired:
            self.remove(pending)
        deadlines_s = (pending.deadline_s for pending in self._waiting)
        self.earliest_deadline_s = min(deadlines_s, default=math.inf)
        return expired

    def take(self, batch_tokens: int) -> list[Pending]:
        """Take the next batch: texts in order, until the next would pass batch_tokens.

        The first always fits. Empty when nothing waits.
        """
        texts: list[Pending] = []
        tokens = 0
        while self._heap:
            pending = self._heap[0][2]
            waits = pending in self._waiting
            if waits and texts and tokens + pending.tokens > batch_tokens:
                break
            heapq.heappop(self._heap)
            if waits:
                self._discard(pending)
                texts.append(pending)
                tokens += pending.tokens
        return texts

    def _discard(self, pending: Pending) -> None:
        self._waiting.remove(pending)
        self.tokens -= pending.tokens

    def drained(self, tokens: int, seconds: float) -> None:
        """Learn the drain rate: the device takes so long for so many tokens."""
        rate = tokens / max(seconds, 1e-6)
        self.tokens_per_s = rate if not self.tokens_per_s else 0.8 * self.tokens_per_s + 0.2 * rate

    def drain_s(self) -> float:
        """How long the device needs for what waits, by the measured rate; 1 s before any
        measurement.
        """
        return self.tokens / self.tokens_per_s if self.tokens_per_s else 1.0


def tokens_of(texts: Sequence[Pending]) -> int:
    """Number of tokens of all texts."""
    return sum(pending.tokens for pending in texts)
