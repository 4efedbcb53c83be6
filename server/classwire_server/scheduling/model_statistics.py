"""What one model has done since it was loaded, in numbers that only grow."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from classwire_server.aggregates import SHARES, TEXTS, TOKENS, Histogram, Total

from .batch import Priority
from .execution import ForwardPass


class Outcome(NamedTuple):
    """What a caller hears of a text, or of several that end together, and when it did: times are in
    seconds, `total_s` from arrival on.

    `texts` are those that have scores, of so many `tokens`; None where one failed, and `reason`
    says why. The stages are tokenizing, the queue and the device, each of the text that took
    longest; None where all answers were known before.
    """

    total_s: float
    texts: int | None = None
    stages_s: tuple[float, float, float] | None = None
    tokens: int = 0
    priority: Priority = Priority.INTERACTIVE
    reason: str = ""

    @staticmethod
    def of_all(total_s: float, outcomes: Sequence["Outcome"]) -> "Outcome":
        """What is one outcome to the caller, of those of its texts."""
        failed = next((outcome for outcome in outcomes if outcome.texts is None), None)
        if failed is not None:
            return failed._replace(total_s=total_s)
        texts = sum(outcome.texts or 0 for outcome in outcomes)
        tokens = sum(outcome.tokens for outcome in outcomes)
        priority = outcomes[0].priority if outcomes else Priority.INTERACTIVE
        stages_s = [outcome.stages_s for outcome in outcomes if outcome.stages_s is not None]
        if not stages_s:
            return Outcome(total_s, texts, None, tokens, priority)
        tokenize_s, queue_s, inference_s = map(max, zip(*stages_s, strict=True))
        return Outcome(total_s, texts, (tokenize_s, queue_s, inference_s), tokens, priority)


@dataclass(slots=True)
class Figures:
    """Outcomes by how they ended, the stages of those that were computed, and forward passes.

    `hit` counts those that were known before; `rest` is what no stage took; all are in seconds.
    `texts` are those that have scores, of so many `tokens`; `reasons` say why others failed.
    `passes` are the forward passes by their number of texts, in seconds, `pass_s`, `pass_tokens`
    and `pass_fill` all of them, the last as shares of a full batch. `last_s` is when the last
    outcome came about, in seconds since 1970, 0 for never.
    """

    success: Total = field(default_factory=Total)
    fail: Total = field(default_factory=Total)
    hit: Total = field(default_factory=Total)
    tokenize: Histogram = field(default_factory=Histogram)
    waits: dict[Priority, Histogram] = field(
        default_factory=lambda: {priority: Histogram() for priority in Priority}
    )
    inference: Total = field(default_factory=Total)
    rest: Total = field(default_factory=Total)
    texts: int = 0
    tokens: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    last_s: float = 0.0
    passes: dict[int, Total] = field(default_factory=dict)
    pass_s: Histogram = field(default_factory=Histogram)
    pass_tokens: Histogram = field(default_factory=lambda: Histogram(bounds=TOKENS))
    pass_fill: Histogram = field(default_factory=lambda: Histogram(bounds=SHARES))

    @property
    def queue(self) -> Total:
        """The queue, whatever the priority."""
        waits = self.waits.values()
        return Total(sum(wait.count for wait in waits), sum(wait.sum for wait in waits))

    @property
    def pass_texts(self) -> Histogram:
        """The sizes of forward passes, in texts."""
        sizes = Histogram(bounds=TEXTS)
        for texts, total in self.passes.items():
            sizes.add(texts, total.count)
        return sizes

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        total_s, texts, stages_s, tokens, priority, reason = outcome
        if texts is None:
            self.fail.add(total_s)
            self.reasons[reason] += 1
            return
        self.texts += texts
        self.tokens += tokens
        self.success.add(total_s)
        if stages_s is None:
            self.hit.add(total_s)
            return
        tokenize_s, queue_s, inference_s = stages_s
        self.tokenize.add(tokenize_s)
        self.waits[priority].add(queue_s)
        self.inference.add(inference_s)
        self.rest.add(max(0.0, total_s - tokenize_s - queue_s - inference_s))


class Statistics:
    """Counts what one model does. Safe for use by any thread."""

    def __init__(self, batch_tokens: int) -> None:
        self._batch_tokens = batch_tokens
        self._figures = Figures()
        self._lock = threading.Lock()  # guards _figures

    def read(self) -> Figures:
        """All figures, as they are at one moment."""
        with self._lock:
            return deepcopy(self._figures)

    def ran(self, passes: Iterable[ForwardPass]) -> None:
        """Count forward passes; those that failed gave nothing."""
        with self._lock:
            figures = self._figures
            for done in passes:
                if not isinstance(done.logits, Exception):
                    inference_s = done.logits.inference_s
                    figures.passes.setdefault(done.texts, Total()).add(inference_s)
                    figures.pass_s.add(inference_s)
                    figures.pass_tokens.add(done.tokens)
                    figures.pass_fill.add(done.tokens / self._batch_tokens)

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes that have come about."""
        with self._lock:
            self._figures.last_s = time.time()
            for outcome in outcomes:
                self._figures.add(outcome)
