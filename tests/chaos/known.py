"""Texts with known scores, which a server gives before any fault."""

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.checkpoints import embedded_words, texts
from classwire import Classification, Client

TOLERANCE = 1e-5
TIMEOUT_S = 120.0


class Known:
    """Texts for the embedded checkpoint, repeated from the first."""

    def __init__(self, texts: Sequence[str], scores: Sequence[Sequence[float]]) -> None:
        self._texts = texts
        self._scores = scores

    @classmethod
    def ask(
        cls, target: str, count: int, tokens: tuple[int, int] = (10, 100), **client_options: Any
    ) -> "Known":
        """Return `count` texts with lengths in a range, and their scores from a server."""
        drawn = random.Random(1)
        return cls.of([drawn.randint(*tokens) for _ in range(count)], target, **client_options)

    @classmethod
    def of(cls, lengths: Sequence[int], target: str, **client_options: Any) -> "Known":
        """Return texts of these lengths in tokens, and their scores from a server."""
        asked = texts(lengths, embedded_words())
        scores = []
        with Client(target, timeout_s=TIMEOUT_S, **client_options) as client:
            for outcome in client.classify_batch(asked):
                assert isinstance(outcome, Classification), outcome
                scores.append(by_label(outcome))
        return cls(asked, scores)

    def text(self, number: int) -> str:
        """Return the text of a number, from 0 on."""
        return self._texts[number % len(self._texts)]

    def is_right(self, number: int, answer: Classification) -> bool:
        """Return whether the scores are the text's, each to 1e-5."""
        right = self._scores[number % len(self._scores)]
        given = by_label(answer)
        return len(given) == len(right) and all(
            abs(one - other) <= TOLERANCE for one, other in zip(given, right, strict=True)
        )


def by_label(answer: Classification) -> list[float]:
    """Return the scores in the order of the labels' ids."""
    return [one.score for one in sorted(answer.scores, key=lambda one: one.label_id)]
