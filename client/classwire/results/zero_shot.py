"""The scores of labels that the caller makes up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .classification import ModelRef, Timing
from .display import Result


@dataclass(frozen=True, slots=True, repr=False)
class CandidateScore(Result):
    """The score of one candidate label.

    Attributes:
        label: The candidate.
        index: Its position in `candidate_labels`, from 0.
        score: 0 to 1.
    """

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class ZeroShotClassification(Result):
    """The scores of the candidate labels, highest first; equal scores are in their order.

    Attributes:
        scores: One for each candidate that `top_k` and `min_score` kept. They sum to 1 over all
            candidates, unless `multi_label` was given or there is one candidate.
        token_count: Number of tokens that the model read, over all candidates and windows.
        truncated_tokens: Number of tokens that were cut off for the candidate that lost most; 0 if
            the model read the whole text.
        window_count: 1 for a text that fits or was cut.
        model: What the scores depend on.
        timing: How long each stage took; each value is the largest over all candidates.
        request_id: As in `Classification`.
    """

    scores: tuple[CandidateScore, ...]
    token_count: int
    truncated_tokens: int
    window_count: int
    model: ModelRef
    timing: Timing = field(repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str | None:
        """The candidate with the highest score; None if no score reached `min_score`."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The highest score; None if no score reached `min_score`."""
        return self.scores[0].score if self.scores else None

    def to_dict(self) -> dict[str, Any]:
        """Return `label`, `score` and the attributes as a dict of values that JSON has."""
        return {"label": self.label, "score": self.score, **Result.to_dict(self)}
