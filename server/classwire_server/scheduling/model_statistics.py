"""Counters and histograms of one model since it was loaded."""

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
    """The outcome of a text, or of several that the caller gets together.

    `total_s` is the time from arrival, in seconds. `texts` counts the texts with scores, `tokens`
    their tokens, and `windows` their windows, one for a text that fits. If one failed, `texts` is
    None, and `reason` says why. `stages_s` are the times of tokenizing, the queue and the device,
    each of the slowest text; None if all answers were cached.
    """

    total_s: float
    texts: int | None = None
    stages_s: tuple[float, float, float] | None = None
    tokens: int = 0
    priority: Priority = Priority.INTERACTIVE
    reason: str = ""
    windows: int = 0

    @staticmethod
    def of_all(total_s: float, outcomes: Sequence["Outcome"]) -> "Outcome":
        """One outcome for the caller, of those of its texts."""
        failed = next((outcome for outcome in outcomes if outcome.texts is None), None)
        if failed is not None:
            return failed._replace(total_s=total_s)
        texts = sum(outcome.texts or 0 for outcome in outcomes)
        tokens = sum(outcome.tokens for outcome in outcomes)
        windows = sum(outcome.windows for outcome in outcomes)
        priority = outcomes[0].priority if outcomes else Priority.INTERACTIVE
        stages_s = [outcome.stages_s for outcome in outcomes if outcome.stages_s is not None]
        if not stages_s:
            return Outcome(total_s, texts, None, tokens, priority, windows=windows)
        tokenize_s, queue_s, inference_s = map(max, zip(*stages_s, strict=True))
        stages = (tokenize_s, queue_s, inference_s)
        return Outcome(total_s, texts, stages, tokens, priority, windows=windows)


@dataclass(slots=True)
class Figures:
    """Outcomes by how they ended, stages of those that were computed, and forward passes.

    Times are in seconds. `hit` counts outcomes whose answers were all cached, and `rest` is the
    time outside the stages. `texts` counts the texts with scores, `tokens` and `windows` theirs,
    and `reasons` why others failed. `passes` are the times of forward passes by number of texts.
    `pass_s`, `pass_tokens` and `pass_fill` cover all passes; `pass_fill` is the share of a full
    batch. `last_s` is the time of the last outcome, in seconds since 1970, 0 for none.
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
    windows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    last_s: float = 0.0
    passes: dict[int, Total] = field(default_factory=dict)
    pass_s: Histogram = field(default_factory=Histogram)
    pass_tokens: Histogram = field(default_factory=lambda: Histogram(bounds=TOKENS))
    pass_fill: Histogram = field(default_factory=lambda: Histogram(bounds=SHARES))

    @property
    def queue(self) -> Total:
        """The time in the queue, over all priorities."""
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
        total_s, texts, stages_s, tokens, priority, reason, windows = outcome
        if texts is None:
            self.fail.add(total_s)
            self.reasons[reason] += 1
            return
        self.texts += texts
        self.tokens += tokens
        self.windows += windows
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
        """A copy of all figures at one moment."""
        with self._lock:
            return deepcopy(self._figures)

    def ran(self, passes: Iterable[ForwardPass]) -> None:
        """Count forward passes, except those that failed."""
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
        """Count outcomes."""
        with self._lock:
            self._figures.last_s = time.time()
            for outcome in outcomes:
                self._figures.add(outcome)
