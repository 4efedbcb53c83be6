"""Documents in the order of their scores for a query."""

from __future__ import annotations

from dataclasses import dataclass, field

from classwire.errors import ClasswireError

from .classification import ModelRef, Timing
from .display import Result


@dataclass(frozen=True, slots=True, repr=False)
class RankedDocument(Result):
    """The score of one document.

    Attributes:
        index: The document's position in `documents`, from 0.
        score: In the scale of the activation.
        token_count: Number of tokens that the model read, with query and special tokens; the sum
            over all windows.
        truncated_tokens: Number of tokens that were cut off; 0 if the model read the whole
            document.
        window_count: 1 for a document that fits or was cut.
    """

    index: int
    score: float
    token_count: int
    truncated_tokens: int
    window_count: int


@dataclass(frozen=True, slots=True, repr=False)
class FailedDocument(Result):
    """A document that cannot be scored.

    Attributes:
        index: The document's position in `documents`, from 0.
        error: Why it cannot be scored.
    """

    index: int
    error: ClasswireError


@dataclass(frozen=True, slots=True, repr=False)
class Ranking(Result):
    """The documents, highest score first; equal scores are in the order of the documents.

    Attributes:
        results: One for each document that `top_k` and `min_score` kept.
        failures: All documents without a score, in the order of the documents.
        model: What the scores depend on.
        timing: How long each stage took; each value is the largest over all documents.
        request_id: As in `Classification`.
    """

    results: tuple[RankedDocument, ...]
    failures: tuple[FailedDocument, ...]
    model: ModelRef
    timing: Timing = field(repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)
