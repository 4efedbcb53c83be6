"""What one model has done since it was loaded, in numbers that only grow."""

import threading
import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from .computation import Pass


class Outcome(NamedTuple):
    """What a caller hears of a text, or of several that end together, and when it did: times are in
    seconds, `total_s` from arrival on.

    `texts` are those that have scores; None where one failed. The stages are tokenizing, the queue
    and the device, each of the text that took longest; None where all answers were known before.
    """

    total_s: float
    texts: int | None = None
    stages_s: tuple[float, float, float] | None = None

    @staticmethod
    def of_all(total_s: float, outcomes: Sequence["Outcome"]) -> "Outcome":
        """What is one outcome to the caller, of those of its texts."""
        texts = [outcome.texts for outcome in outcomes if outcome.texts is not None]
        if len(texts) < len(outcomes):
            return Outcome(total_s)
        stages_s = [outcome.stages_s for outcome in outcomes if outcome.stages_s is not None]
        if not stages_s:
            return Outcome(total_s, sum(texts))
        tokenize_s, queue_s, inference_s = map(max, zip(*stages_s, strict=True))
        return Outcome(total_s, sum(texts), (tokenize_s, queue_s, inference_s))


@dataclass(slots=True)
class Total:
    """How often something was done, and how long that took in seconds, all times together."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one time more."""
        self.count += 1
        self.seconds += seconds


@dataclass(slots=True)
class Figures:
    """Outcomes by how they ended, and the stages of those that were computed.

    `hit` counts those that were known before; `rest` is what no stage took. `texts` are those that
    have scores, `passes` the forward passes by their number of texts. `last_s` is when the last
    outcome came about, in seconds since 1970, 0 for never.
    """

    success: Total = field(default_factory=Total)
    fail: Total = field(default_factory=Total)
    hit: Total = field(default_factory=Total)
    tokenize: Total = field(default_factory=Total)
    queue: Total = field(default_factory=Total)
    inference: Total = field(default_factory=Total)
    rest: Total = field(default_factory=Total)
    texts: int = 0
    last_s: float = 0.0
    passes: dict[int, Total] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        total_s, texts, stages_s = outcome
        if texts is None:
            self.fail.add(total_s)
            return
        self.texts += texts
        self.success.add(total_s)
        if stages_s is None:
            self.hit.add(total_s)
            return
        tokenize_s, queue_s, inference_s = stages_s
        self.tokenize.add(tokenize_s)
        self.queue.add(queue_s)
        self.inference.add(inference_s)
        self.rest.add(max(0.0, total_s - tokenize_s - queue_s - inference_s))


class Statistics:
    """Counts what one model does. Safe for use by any thread."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._lock = threading.Lock()  # guards _figures

    def read(self) -> Figures:
        """All figures, as they are at one moment."""
        with self._lock:
            return deepcopy(self._figures)

    def ran(self, passes: Iterable[Pass]) -> None:
        """Count forward passes; those that failed gave nothing."""
        with self._lock:
            for done in passes:
                if not isinstance(done.logits, Exception):
                    total = self._figures.passes.setdefault(done.texts, Total())
                    total.add(done.logits.inference_s)

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes that have come about."""
        with self._lock:
            self._figures.last_s = time.time()
            for outcome in outcomes:
                self._figures.add(outcome)
