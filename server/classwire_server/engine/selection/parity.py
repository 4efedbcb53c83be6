"""Engines on trial: the same texts through plain float32 and through another."""

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
"""Largest difference of a score from plain float32 that a float32 engine may have."""

BATCH_TOKENS = 512
"""Tokens of a batch: activations of all texts at once would take memory that is never used again.
"""


@dataclass(frozen=True, eq=False)
class ParityCheck:
    """Texts that engines are compared on, and what float32 says of them.

    `logits` are float32, (texts, labels), in packed order: plain, one text at a time, or of an
    engine that has been found to compute the same.
    """

    checkpoint: Checkpoint
    texts: PackedTexts
    logits: np.ndarray

    @property
    def tolerance(self) -> float:
        """The largest deviation of an engine that computes the same: 1e-5 of any score.

        Regression has scores of any size, and its deviation is over their spread.
        """
        if self.checkpoint.problem_type is not ProblemType.REGRESSION:
            return SAME
        largest = float(np.abs(self.logits).max())
        return SAME * max(1.0, largest) / spread(self.logits)

    def deviation(self, runner: Runner) -> Deviation:
        """How far a runner's scores are from plain float32, many texts in a batch."""
        return measure_deviation(
            self.logits,
            _run(runner, self.texts),
            self.checkpoint.activation,
            self.checkpoint.problem_type,
        )


def parity_check_of(
    checkpoint: Checkpoint, texts: Sequence[Text], reference: Runner
) -> ParityCheck:
    """A trial on these texts, by what `reference` makes of them.

    Raises CheckpointError when that is not finite.
    """
    tokenization = checkpoint.tokenization(Truncation.DROP_END)
    packed = pack([tokenization.encode(text, None, field="") for text in texts])
    logits = _run(reference, packed)
    if not np.isfinite(logits).all():
        raise CheckpointError(f"{checkpoint.location}: its logits are not finite")
    return ParityCheck(checkpoint, packed, logits)


def _run(runner: Runner, texts: PackedTexts) -> np.ndarray:
    """Logits of all texts, in batches such as callers' texts come in."""
    rows = []
    first = 0
    while first < len(texts.lengths):
        room = texts.bounds[first] + BATCH_TOKENS
        end = max(first + 1, int(np.searchsorted(texts.bounds, room, side="right")) - 1)
        rows.append(runner.run(texts.texts(first, end)))
        first = end
    return np.concatenate(rows)
