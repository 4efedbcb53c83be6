"""A snapshot of one model's pending work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .batch import Pending, Priority


@dataclass(slots=True)
class Events:
    """Counters of what happened to texts before they reached the engine.

    `cached` texts had their answers in the cache, and `coalesced` texts joined another with the
    same tokens. `retried` texts were queued again because their worker was lost or their batch came
    too late. The deadline of `expired` texts passed, and the callers of `cancelled` texts went
    away.
    """

    cached: int = 0
    coalesced: int = 0
    retried: int = 0
    expired: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Backlog:
    """What is queued, what is in flight, and how fast the engine drains it.

    `waiting` are the queued texts in no order, `waiting_tokens` their tokens to compute by
    priority. `tokens_per_s` is the measured drain rate, 0 before any measurement. `events` count
    from the start.
    """

    waiting: list[Pending]
    waiting_tokens: Mapping[Priority, int]
    busy_lanes: int
    tokens_per_s: float
    cache_entries: int
    cache_bytes: int
    events: Events

    def of(self, priority: Priority) -> "Waiting":
        """The queued texts of a priority."""
        return Waiting.among(text for text in self.waiting if text.priority is priority)


@dataclass(frozen=True)
class Waiting:
    """The number of queued texts, and the monotonic instant at which the oldest was queued; None
    without one.
    """

    texts: int
    since_s: float | None

    @staticmethod
    def among(texts: Iterable[Pending]) -> "Waiting":
        """Summarise these texts."""
        queued_s = [text.queued_s for text in texts]
        return Waiting(len(queued_s), min(queued_s, default=None))
