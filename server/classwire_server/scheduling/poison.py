"""Texts that the model's process held when it ended."""

from collections import OrderedDict

from .batch import Key

MAX_DEATHS = 2
"""Deaths of the process after which a text is poison: it never runs again."""
REMEMBERED_TEXTS = 1_024
"""Maximum number of suspects, and of poisonous texts."""


class PoisonTracker:
    """Counts how often the model's process ended while it held a text.

    It counts by key, across callers. A text whose callers all time out while the process restarts
    is still found out when a caller sends it again. Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._suspects: OrderedDict[Key, int] = OrderedDict()
        self._poison: OrderedDict[Key, int] = OrderedDict()

    def deaths(self, key: Key) -> int:
        """How often the process ended on this text since it last survived."""
        return self._poison.get(key, 0) or self._suspects.get(key, 0)

    def is_poison(self, key: Key) -> bool:
        """Whether the text must never run again."""
        return key in self._poison

    def died(self, key: Key, deaths: int) -> None:
        """Record that the process has ended `deaths` times on this text."""
        self._suspects.pop(key, None)
        texts = self._poison if deaths >= MAX_DEATHS else self._suspects
        texts[key] = deaths
        if len(texts) > REMEMBERED_TEXTS:
            texts.popitem(last=False)

    def survived(self, key: Key) -> None:
        """Record that the process computed this text and went on."""
        self._suspects.pop(key, None)
