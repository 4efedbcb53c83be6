"""Texts that the model's process was computing when it ended."""

from collections import OrderedDict
from dataclasses import dataclass

from .batch import Key

MAX_DEATHS = 2
"""Deaths of a process that held a text alone, after which the text is poison."""
REMEMBERED_TEXTS = 1_024
"""Maximum number of suspects, and of poison texts."""


@dataclass(frozen=True)
class PoisonInputs:
    """Number of poison texts, and when the first and the last of them were found.

    Both are instants of the monotonic clock, 0 without such a text.
    """

    count: int = 0
    first_s: float = 0.0
    last_s: float = 0.0


class PoisonTracker:
    """Finds the texts that end the model's process.

    A text becomes a suspect when the process ends while it computes the text, and poison after
    MAX_DEATHS such deaths of a process that held nothing else. After `expiry_s` a poison text
    gets one more trial: it becomes a suspect that one more death convicts.

    It counts by key, across callers. A text whose callers all time out while the process restarts
    is still found out when a caller sends it again. Not safe for use by several threads.
    """

    def __init__(self, expiry_s: float) -> None:
        self._expiry_s = expiry_s
        self._suspects: OrderedDict[Key, int] = OrderedDict()  # deaths of a process with it alone
        self._poison: OrderedDict[Key, float] = OrderedDict()  # when each was found, in that order

    def is_suspect(self, key: Key) -> bool:
        """Whether the text must run alone."""
        return key in self._suspects

    def is_poison(self, key: Key) -> bool:
        """Whether the text must not run."""
        return key in self._poison

    def is_last_trial(self, key: Key) -> bool:
        """Whether the next death of a process that holds the text alone convicts it."""
        return self._suspects.get(key, 0) == MAX_DEATHS - 1

    def inputs(self) -> PoisonInputs:
        """The poison texts in figures."""
        found_s = list(self._poison.values())
        return PoisonInputs(len(found_s), found_s[0], found_s[-1]) if found_s else PoisonInputs()

    def died(self, key: Key, now_s: float, *, is_alone: bool) -> None:
        """Record that the process ended while it computed this text, alone or among others."""
        deaths = self._suspects.pop(key, 0) + is_alone
        if deaths < MAX_DEATHS:
            self._suspect(key, deaths)
            return
        self._poison[key] = now_s
        if len(self._poison) > REMEMBERED_TEXTS:
            self._poison.popitem(last=False)

    def doubt(self, key: Key) -> None:
        """Forget the deaths of a suspect: another process ended before it began the text."""
        if key in self._suspects:
            self._suspects[key] = 0

    def survived(self, key: Key) -> None:
        """Record that the process computed this text and went on."""
        self._suspects.pop(key, None)

    def expire(self, now_s: float) -> None:
        """Make suspects of the texts that have been poison for `expiry_s`."""
        while self._poison and next(iter(self._poison.values())) + self._expiry_s <= now_s:
            key, _ = self._poison.popitem(last=False)
            self._suspect(key, MAX_DEATHS - 1)

    def clear(self) -> int:
        """Forget all poison texts; returns their number."""
        count = len(self._poison)
        self._poison.clear()
        return count

    def _suspect(self, key: Key, deaths: int) -> None:
        self._suspects[key] = deaths
        if len(self._suspects) > REMEMBERED_TEXTS:
            self._suspects.popitem(last=False)
