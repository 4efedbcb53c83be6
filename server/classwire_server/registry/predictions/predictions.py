"""Counts what one model says: highest labels, their scores, and the margin to the next."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from classwire_server.aggregates import SCORES, Histogram
from classwire_server.scoring import Activation
from classwire_server.tokenization import Text

from .reference import Reference, counted_names
from .stability import SlidingCounts, population_stability_index, texts_needed


class Highest(NamedTuple):
    """The label with a text's highest score, that score, and its margin to the next score.

    `margin` is NaN for a model with one label.
    """

    label_id: int
    score: float
    margin: float

    @classmethod
    def of(cls, scores: Sequence[float], best: Sequence[int]) -> "Highest":
        """Find it in the scores by label id. `best` are the ids of the two highest, or the one."""
        score = scores[best[0]]
        return cls(best[0], score, score - scores[best[1]] if len(best) > 1 else math.nan)


class AnswerListener(Protocol):
    """Gets each answer of a model that it has given for a whole text."""

    def answered(self, text: Text, labels: Sequence[str], highest: Highest) -> None:
        """A caller gets this answer. Called on the thread of the call; returns at once."""


@dataclass(frozen=True)
class PredictionFigures:
    """What a model has said since it was loaded.

    `labels` are the texts by their highest label. `scores` and `margins` are None where a score is
    not between 0 and 1, and `margins` also for a model with one label. `window_texts` are the texts
    in the window of the index, None without a reference. `stability_index` is also None below
    `texts_needed`.
    """

    labels: Mapping[str, int]
    scores: Histogram | None
    margins: Histogram | None
    window_texts: int | None
    stability_index: float | None


class Predictions:
    """Counts the answers of one model. Safe for use by any thread.

    `labels` and `activation` are those of its checkpoint. `listener` gets the answers too.
    """

    def __init__(
        self,
        labels: Sequence[str],
        activation: Activation,
        reference: Reference | None = None,
        listener: AnswerListener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.labels = labels
        self.listener = listener
        names = counted_names(labels)
        self._names = list(dict.fromkeys(names))
        self._places = [self._names.index(name) for name in names]
        self._is_bounded = activation is not Activation.IDENTITY
        self._clock = clock
        self._reference = reference
        self._counts = [0] * len(self._names)
        self._scores = Histogram(bounds=SCORES)
        self._margins = Histogram(bounds=SCORES)
        self._window = SlidingCounts(len(self._names), reference.window_s) if reference else None
        self._lock = threading.Lock()  # guards the counts, the histograms and the window

    def add(self, answers: Iterable[Highest]) -> None:
        """Count the answers of texts, each once."""
        with self._lock:
            counts, recent = self._counts, None
            if self._window is not None:
                recent = self._window.current(self._clock())
            for label_id, score, margin in answers:
                place = self._places[label_id]
                counts[place] += 1
                if recent is not None:
                    recent[place] += 1
                if self._is_bounded and math.isfinite(score):
                    self._scores.add(score)
                    if math.isfinite(margin):
                        self._margins.add(margin)

    def read(self) -> PredictionFigures:
        """A copy of all figures at one moment."""
        with self._lock:
            is_bounded, has_margin = self._is_bounded, len(self.labels) > 1
            recent = self._window.read(self._clock()) if self._window is not None else None
            return PredictionFigures(
                dict(zip(self._names, self._counts, strict=True)),
                self._scores.copy() if is_bounded else None,
                self._margins.copy() if is_bounded and has_margin else None,
                sum(recent) if recent is not None else None,
                self._index(recent),
            )

    def _index(self, recent: Sequence[int] | None) -> float | None:
        if recent is None or self._reference is None or sum(recent) < texts_needed(len(recent)):
            return None
        return population_stability_index(self._reference.counts, recent)
