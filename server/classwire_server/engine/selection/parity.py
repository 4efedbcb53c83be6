"""The parity check: runs the same texts through plain float32 and through another engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classwire_server.checkpoint.loading import Checkpoint, ProblemType
from classwire_server.engine import Deviation
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.errors import CheckpointError
from classwire_server.tokenization import Text, Truncation

from .calibration import measure_deviation, spread

SAME = 1e-5
"""Largest allowed difference of a float32 engine's score from plain float32."""

BATCH_TOKENS = 512
"""Tokens of a batch: all texts at once would need memory that is never used again."""


@dataclass(frozen=True, eq=False)
class ParityCheck:
    """The texts that engines are compared on, and their reference logits.

    `logits` are float32, (texts, labels), in packed order. They come from plain float32, one text
    at a time, or from an engine that has passed the check against it.
    """

    checkpoint: Checkpoint
    texts: PackedTexts
    logits: np.ndarray

    @property
    def tolerance(self) -> float:
        """The largest deviation of an engine that computes the same function: 1e-5 of any score.

        Regression scores may have any size. Their rounding grows with it, and their deviation is
        relative to their range.
        """
        if self.checkpoint.problem_type is not ProblemType.REGRESSION:
            return SAME
        largest = float(np.abs(self.logits).max())
        return SAME * max(1.0, largest) / spread(self.logits)

    def deviation(self, runner: Runner) -> Deviation:
        """Measure how far a runner's scores are from plain float32, with many texts in a batch."""
        return measure_deviation(
            self.logits,
            _run(runner, self.texts),
            self.checkpoint.activation,
            self.checkpoint.problem_type,
        )


def parity_check_of(
    checkpoint: Checkpoint, texts: Sequence[Text], reference: Runner
) -> ParityCheck:
    """Make a parity check of these texts with the logits of `reference`.

    Raises CheckpointError when the logits are not finite.
    """
    tokenization = checkpoint.tokenization(Truncation.DROP_END)
    packed = pack([tokenization.encode(text, None, field="") for text in texts])
    logits = _run(reference, packed)
    if bad := int((~np.isfinite(logits)).any(axis=1).sum()):
        raise CheckpointError(
            f"{checkpoint.location}: its logits are not finite for {bad} of {len(texts)} sample "
            "texts; look for NaN in its weights"
        )
    return ParityCheck(checkpoint, packed, logits)


def _run(runner: Runner, texts: PackedTexts) -> np.ndarray:
    """Logits of all texts, in batches of ordinary size: float32, (texts, labels)."""
    rows = []
    first = 0
    while first < len(texts.lengths):
        room = texts.bounds[first] + BATCH_TOKENS
        end = max(first + 1, int(np.searchsorted(texts.bounds, room, side="right")) - 1)
        rows.append(runner.run(texts.texts(first, end)))
        first = end
    return np.concatenate(rows)
