"""What one model has to do, as it is at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .batch import Pending, Priority


@dataclass(slots=True)
class Events:
    """What became of texts on their way to the device, in numbers that only grow.

    `cached` texts had their answers in the cache, `coalesced` ones joined another with the same
    tokens, `retried` ones waited once more because the worker that held them was lost, or one of
    their batch was late; of `expired` ones the deadline passed, of `cancelled` ones the caller
    went.
    """

    cached: int = 0
    coalesced: int = 0
    retried: int = 0
    expired: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Backlog:
    """What waits, what runs, and how fast; `events` are those until now.

    `waiting` are texts in no order, `waiting_tokens` those to be computed, by priority;
    `tokens_per_s` is the measured drain rate, 0 before any measurement.
    """

    waiting: list[Pending]
    waiting_tokens: Mapping[Priority, int]
    busy_lanes: int
    tokens_per_s: float
    cache_entries: int
    cache_bytes: int
    events: Events

    def of(self, priority: Priority) -> "Waiting":
        """What waits of a priority."""
        return Waiting.among(text for text in self.waiting if text.priority is priority)


@dataclass(frozen=True)
class Waiting:
    """Texts that wait, and since when the oldest does, on the monotonic clock; None for none."""

    texts: int
    since_s: float | None

    @staticmethod
    def among(texts: Iterable[Pending]) -> "Waiting":
        """Of these."""
        queued_s = [text.queued_s for text in texts]
        return Waiting(len(queued_s), min(queued_s, default=None))
