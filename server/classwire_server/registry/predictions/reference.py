"""The labels that metrics count, and how often a model gave each of them before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from classwire_server.errors import ConfigError

from .stability import texts_needed

MAX_LABELS = 100
"""Labels with a series of their own. The others count together."""
OTHER_LABELS = "(other)"
"""The name under which labels count whose ids are MAX_LABELS or more."""
SETTING = "reference_distribution"


def counted_names(labels: Sequence[str]) -> list[str]:
    """The name under which each label counts, by id. Labels of one name count together."""
    return [*labels[:MAX_LABELS], *[OTHER_LABELS] * len(labels[MAX_LABELS:])]


@dataclass(frozen=True)
class Reference:
    """How often a model gave each label before.

    `counts` are in the order of the distinct `counted_names`. The index is computed over the last
    `window_s` seconds.
    """

    counts: tuple[int, ...]
    window_s: float

    @classmethod
    def of(cls, labels: Sequence[str], texts: Mapping[str, int], window_s: float) -> Self:
        """The reference for a model with these labels, from the number of texts by label.

        A missing label has no texts. Raises ConfigError if the model does not have one of the
        labels, if it has only one, or if there are too few texts.
        """
        names = counted_names(labels)
        counts = dict.fromkeys(names, 0)
        # Reversed: of equal labels, the first has the name.
        name_of = dict(zip(reversed(labels), reversed(names), strict=True))
        for label, number in texts.items():
            if label not in name_of:
                raise ConfigError(SETTING, f"the model has no label {label!r}")
            counts[name_of[label]] += number
        total, needed = sum(counts.values()), texts_needed(len(counts))
        if len(counts) == 1:
            raise ConfigError(SETTING, "the model has one label, so all texts have it")
        if total < needed:
            raise ConfigError(SETTING, f"has {total} texts; {len(counts)} labels need {needed}")
        return cls(tuple(counts.values()), window_s)
