"""Ways to read long texts: in windows, the head alone, or all at once; and what each costs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classwire import Classification, ClassifyOptions, Client, raise_for_errors
from classwire_server.observability.metrics.workers import Usage

from .progress import Say

SHORT, WHOLE = "short", "whole"
"""Names of the server's models: one that takes few tokens, and one that takes 512."""
OVERLAPS = {"0": 0.0, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2}
"""Shares of the window that neighbours have in common."""
JOINED_WINDOWS_TOKENS = (512, 128)

Scores = NDArray[np.float64]


class Subject(NamedTuple):
    """The server under test: its address, and its processes, whose processor time counts."""

    target: str
    pids: Sequence[int]

    def cpu_s(self) -> float:
        """Return the processor time of all processes so far."""
        return sum(usage.cpu_s for pid in self.pids if (usage := Usage.of(pid)) is not None)


class Reading:
    """A way to read long texts: a model and options; and what it cost and answered."""

    def __init__(self, name: str, model: str, options: ClassifyOptions) -> None:
        self.name = name
        self.cpu_s: list[float] = []
        self.tokens = 0
        self.scores: Scores = np.empty(0)  # (texts, labels), in the order of the label ids
        self._model = model
        self._options = options

    def read(self, subject: Subject, client: Client, texts: Sequence[str]) -> None:
        """Classify texts over one stream. Raises the error of the first text that fails."""
        before_s = subject.cpu_s()
        stream = client.classify_stream(texts, model=self._model, in_order=True, **self._options)
        results = raise_for_errors(stream)
        self.cpu_s.append(subject.cpu_s() - before_s)
        self.tokens = sum(result.token_count for result in results)
        self.scores = np.array([by_id(result) for result in results])


def by_id(result: Classification) -> list[float]:
    """Return all scores of an answer, in the order of the label ids."""
    return [each.score for each in sorted(result.scores, key=lambda each: each.label_id)]


def readings_of_reviews(window_tokens: int) -> list[Reading]:
    """Return windows with each overlap and aggregation, then the head alone and all at once."""
    windows = [
        Reading(
            f"windows, {aggregation}, overlap {name}",
            SHORT,
            {
                "truncation": "windows",
                "overlap_tokens": int(share * window_tokens),
                "aggregation": aggregation,
            },
        )
        for name, share in OVERLAPS.items()
        for aggregation in ("mean_logits", "max_score")
    ]
    head = Reading(f"the first {window_tokens} tokens alone", SHORT, {"truncation": "drop_end"})
    return [*windows, head, Reading("all at once", WHOLE, {"truncation": "reject"})]


def readings_of_joined() -> list[Reading]:
    """Return windows of two sizes with each aggregation, then the head alone."""
    windows = [
        Reading(
            f"windows of {tokens}, {aggregation}",
            WHOLE,
            {"truncation": "windows", "window_tokens": tokens, "aggregation": aggregation},
        )
        for tokens in JOINED_WINDOWS_TOKENS
        for aggregation in ("mean_logits", "max_score")
    ]
    return [*windows, Reading("the first 512 tokens alone", WHOLE, {"truncation": "drop_end"})]


def take_turns(
    subject: Subject, readings: Sequence[Reading], texts: Sequence[str], rounds: int, say: Say
) -> None:
    """Let each reading classify the texts in each round, after a round 0 that warms up."""
    with Client(subject.target) as client:
        for turn in range(-1, rounds):
            for reading in readings if turn % 2 else reversed(readings):
                say(f"{len(texts)} texts, round {turn + 1} of {rounds}: {reading.name}")
                reading.read(subject, client, texts)
    for reading in readings:
        del reading.cpu_s[0]
