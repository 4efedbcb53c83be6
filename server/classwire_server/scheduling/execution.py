"""Runs one batch: every row gets its logits or its error."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from classwire_server.engine import ANY_TIME, Engine, Logits, Terms
from classwire_server.errors import NoWorker, TooLate, WorkerLost
from classwire_server.tokenization import Encoding

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The result of one forward pass: the logits of its texts, or the error."""

    texts: int
    tokens: int
    logits: Logits | Exception


def compute(
    engine: Engine, encodings: Sequence[Encoding], terms: Terms = ANY_TIME
) -> list[ForwardPass]:
    """Run the texts through the model, in one pass if none fails.

    `compute` splits a batch that fails in halves until the bad text is alone. A text that fails
    alone after a failed pass gets the error. Raises NoWorker, TooLate and WorkerLost.
    """
    passes: list[ForwardPass] = []

    def infer(texts: Sequence[Encoding]) -> Logits:
        return engine.infer(texts, terms)

    _run(infer, encodings, passes, is_first=True)
    return passes


def _run(
    infer: Callable[[Sequence[Encoding]], Logits],
    encodings: Sequence[Encoding],
    passes: list[ForwardPass],
    *,
    is_first: bool,
) -> None:
    result: Logits | Exception
    try:
        result = infer(encodings)
        if len(result.values) != len(encodings):
            raise RuntimeError(f"{len(result.values)} rows of logits for {len(encodings)} texts")
    except (NoWorker, TooLate, WorkerLost):
        raise
    except Exception as error:
        if is_first:
            log.warning("a batch of %d texts failed; running it again in parts", len(encodings))
        if is_first or len(encodings) > 1:
            middle = len(encodings) // 2
            for part in filter(len, (encodings[:middle], encodings[middle:])):
                _run(infer, part, passes, is_first=False)
            return
        result = error
    tokens = sum(len(encoding.ids) for encoding in encodings)
    passes.append(ForwardPass(len(encodings), tokens, result))
