"""Texts that the model's process held when it ended. Pure, as scheduling is."""

from collections import OrderedDict

from .batch import Key

MAX_DEATHS = 2
REMEMBERED_TEXTS = 1_024
"""So many poisonous texts are remembered, and so many that may turn out to be."""


class PoisonTracker:
    """How often the process ended while it held a text, whoever sent it.

    It outlives those who wait for the text: a caller whose time passes while the process starts
    again, and who sends the text once more, does not bring its neighbours down each time. Not safe
    for use by several threads.
    """

    def __init__(self) -> None:
        self._suspects: OrderedDict[Key, int] = OrderedDict()
        self._poison: OrderedDict[Key, int] = OrderedDict()

    def deaths(self, key: Key) -> int:
        """How often; a text that has been computed since is above suspicion."""
        return self._poison.get(key, 0) or self._suspects.get(key, 0)

    def is_poison(self, key: Key) -> bool:
        """Whether the text must never run again."""
        return key in self._poison

    def died(self, key: Key, deaths: int) -> None:
        """Remember a text that the process has ended on so often."""
        self._suspects.pop(key, None)
        texts = self._poison if deaths >= MAX_DEATHS else self._suspects
        texts[key] = deaths
        if len(texts) > REMEMBERED_TEXTS:
            texts.popitem(last=False)

    def survived(self, key: Key) -> None:
        """The process went on after this text."""
        self._suspects.pop(key, None)
