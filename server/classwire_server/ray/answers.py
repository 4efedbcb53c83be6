"""Scores of texts from the logits of the model's inputs for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.scoring import Activation, activated, scores
from classwire_server.tokenization import Encoding, Tokenized, Windows
from classwire_server.windows import Aggregation, highest, mean_logits

from .inference import Row


@dataclass(frozen=True)
class Scoring:
    """How the logits of a model become scores."""

    activation: Activation
    aggregation: Aggregation

    def of(self, outcome: Encoding | Windows, logits: np.ndarray) -> np.ndarray:
        """The scores of a text: its inputs' logits, (inputs, labels) -> (labels,), float32."""
        if isinstance(outcome, Encoding):
            return scores(logits[0], self.activation)
        if self.aggregation is Aggregation.MEAN_LOGITS:
            return scores(mean_logits(logits, outcome.weights), self.activation)
        exact = activated(logits, self.activation)
        best = highest(exact)[np.newaxis]  # (1, labels)
        values: np.ndarray = np.take_along_axis(exact, best, axis=0)[0]
        return values.astype(np.float32)


def inputs_of(outcomes: Sequence[Tokenized]) -> list[Encoding]:
    """The model's inputs for all texts that have any, one after the other."""
    return [encoding for outcome in outcomes for encoding in _encodings(outcome)]


def scored(
    outcomes: Sequence[Tokenized], rows: Sequence[Row], scoring: Scoring
) -> Iterator[np.ndarray | Reason]:
    """Yield each text's scores, or why it has none. `rows` are those of `inputs_of`."""
    start = 0
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            yield outcome.reason if isinstance(outcome, RequestError) else Reason.INTERNAL
            continue
        end = start + len(_encodings(outcome))
        yield _scores(outcome, rows[start:end], scoring)
        start = end


def _scores(
    outcome: Encoding | Windows, rows: Sequence[Row], scoring: Scoring
) -> np.ndarray | Reason:
    failure = next((row for row in rows if isinstance(row, Reason)), None)
    if failure is not None:
        return failure
    values = scoring.of(outcome, np.stack([row for row in rows if not isinstance(row, Reason)]))
    return Reason.INTERNAL if np.isnan(values).any() else values


def _encodings(outcome: Tokenized) -> Sequence[Encoding]:
    if isinstance(outcome, Encoding):
        return [outcome]
    return outcome.encodings if isinstance(outcome, Windows) else []
