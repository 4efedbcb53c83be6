"""The parity check: the same texts in direct use of transformers and through an engine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from classwire_server.checkpoint.loading import Checkpoint, ProblemType
from classwire_server.engine import Deviation, Precision
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.errors import CheckpointError
from classwire_server.tokenization import Encoding, Text, Truncation

from .calibration import LONG_TEXT, PAIR, PARITY_TEXTS, measure_deviation, spread
from .direct_use import DirectUse

SAME = 1e-5
"""Largest allowed difference of a float32 engine's score from direct use."""
SAME_LOGITS = 1e-4
"""Largest allowed difference of its logits, as a share of a label's largest logit, or of 1."""

BATCH_TOKENS = 512
"""Tokens of a batch: all texts at once would need memory that is never used again."""
_MOST_TOKENS_TRIED = 4_096


@dataclass(frozen=True, eq=False)
class ParityCheck:
    """The texts that engines are compared on, and their reference logits.

    `logits` are float32, (texts, labels), in packed order. They come from direct use, or from an
    engine that has passed the check against it. `draws_random_numbers` says whether direct use
    reads torch's global generator.
    """

    checkpoint: Checkpoint
    texts: PackedTexts
    logits: np.ndarray
    draws_random_numbers: bool = False

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
        """Measure how far a runner's scores are from the reference, with many texts in a batch.

        Raises ValueError when the logits of a float32 runner differ where its scores hide it.
        """
        return self._measured(runner, _run(runner, self.texts))

    def deviation_in_any_order(self, runner: Runner, lanes: int) -> Deviation:
        """Measure the largest deviation of several runs, on `lanes` threads at once.

        Half of the runs begin with the shortest texts, half with the longest, so a model that
        changes with the texts that it has run deviates. Raises ValueError as `deviation` does.
        """
        orders = [False, True] * ((lanes + 1) // 2)
        with ThreadPoolExecutor(lanes) as threads:
            runs = threads.map(lambda falling: _run(runner, self.texts, falling), orders)
            found = [self._measured(runner, logits) for logits in runs]
        return max(found, key=lambda each: each.max_score_difference)

    def _measured(self, runner: Runner, logits: np.ndarray) -> Deviation:
        if runner.traits.precision is Precision.FLOAT32:
            largest = np.abs(self.logits).max(axis=0)  # (labels,)
            moved = np.abs(logits - self.logits)  # (texts, labels)
            # Scores near 0 and 1 stay the same where logits do not.
            if (moved > SAME_LOGITS * np.maximum(largest, 1.0)).any():
                raise ValueError(f"logits would move by {moved.max():.1e}")
        return measure_deviation(
            self.logits, logits, self.checkpoint.activation, self.checkpoint.problem_type
        )


def check_by_direct_use(checkpoint: Checkpoint, direct: DirectUse) -> ParityCheck:
    """Make the check that every engine of a checkpoint has to pass.

    The check's checkpoint has what only its model knows: whether it takes pairs, and its token
    limit where its files are wrong. Raises CheckpointError when direct use fails too, and when its
    logits are not finite or change from call to call.
    """
    limit, generators = checkpoint.max_tokens, direct.random_states()
    special = Text(f"What do these mean? {direct.special_tokens}")
    usable = _encodings(checkpoint, [*PARITY_TEXTS, special])
    answers = {text: direct.attempt(text, limit) for text in usable}
    if isinstance(answers.get(LONG_TEXT), str):
        limit = _longest(direct, limit)
        answers[LONG_TEXT] = direct.attempt(LONG_TEXT, limit)
    for text in PARITY_TEXTS:  # a special token may stand for an image, so that text may fail
        if text is not PAIR and isinstance(problem := answers.get(text), str):
            raise CheckpointError(f"{checkpoint.location}: fails in direct use too: {problem}")
    if limit < checkpoint.max_tokens:
        usable = _encodings(replace(checkpoint, max_tokens=limit), list(usable))
    takes_pairs = not isinstance(answers.get(PAIR), str)
    checkpoint = replace(checkpoint, max_tokens=limit, takes_pairs=takes_pairs)
    logits = {text: answer for text, answer in answers.items() if not isinstance(answer, str)}
    packed = pack([usable[text] for text in logits])
    rows = np.stack(list(logits.values()))[packed.order]
    is_random = not all(map(torch.equal, generators, direct.random_states()))
    check = _finite(ParityCheck(checkpoint, packed, rows, is_random))
    if is_random and LONG_TEXT in logits:
        again = direct.attempt(LONG_TEXT, limit)
        if isinstance(again, str) or not np.allclose(again, logits[LONG_TEXT], SAME, SAME):
            raise CheckpointError(
                f"{checkpoint.location}: its scores change from call to call, in direct use too: "
                "its model draws random numbers without a seed"
            )
    return check


def check_by_engine(checkpoint: Checkpoint, texts: Sequence[Text], engine: Runner) -> ParityCheck:
    """Make a check of these texts with the logits of an engine that has passed a check.

    Leaves pairs out for a model that takes none. Raises CheckpointError when the logits are not
    finite.
    """
    taken = [text for text in texts if text.text_pair is None or checkpoint.takes_pairs]
    packed = pack(list(_encodings(checkpoint, taken).values()))
    return _finite(ParityCheck(checkpoint, packed, _run(engine, packed)))


def _encodings(checkpoint: Checkpoint, texts: Sequence[Text]) -> dict[Text, Encoding]:
    """The texts that can be encoded. Raises CheckpointError if there is none."""
    encodings = checkpoint.tokenization(Truncation.DROP_END).encode_all(texts, None, spans=False)
    usable = {
        text: encoding
        for text, encoding in zip(texts, encodings, strict=True)
        if isinstance(encoding, Encoding)
    }
    if not usable:
        raise CheckpointError(f"{checkpoint.location}: its tokenizer finds no token in any text")
    return usable


def _finite(check: ParityCheck) -> ParityCheck:
    if bad := int((~np.isfinite(check.logits)).any(axis=1).sum()):
        raise CheckpointError(
            f"{check.checkpoint.location}: its logits are not finite for {bad} of "
            f"{len(check.logits)} sample texts; look for NaN in its weights"
        )
    return check


def _longest(direct: DirectUse, rejected: int) -> int:
    """The largest number of tokens of a text that direct use accepts; 0 if there is none."""
    accepted, rejected = 0, min(rejected, _MOST_TOKENS_TRIED)
    while rejected - accepted > 1:
        tokens = (accepted + rejected) // 2
        if isinstance(direct.attempt(LONG_TEXT, tokens), str):
            rejected = tokens
        else:
            accepted = tokens
    return accepted


def _run(runner: Runner, texts: PackedTexts, is_falling: bool = False) -> np.ndarray:
    """Logits of all texts, in batches of ordinary size: float32, (texts, labels)."""
    batches: list[tuple[int, int]] = []
    first = 0
    while first < len(texts.lengths):
        room = texts.bounds[first] + BATCH_TOKENS
        end = max(first + 1, int(np.searchsorted(texts.bounds, room, side="right")) - 1)
        batches.append((first, end))
        first = end
    in_order = sorted(batches, reverse=is_falling)
    logits = {batch: runner.run(texts.texts(*batch)) for batch in in_order}
    return np.concatenate([logits[batch] for batch in batches])
