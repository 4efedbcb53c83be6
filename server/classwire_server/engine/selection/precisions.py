"""Engines of a checkpoint in other precisions, and float32 with reordered weights."""

import copy
import logging
import math
from collections.abc import Callable

from transformers import PreTrainedModel

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    FASTER_ON_CPU,
    FASTER_ON_GPU,
    Choice,
    Deviation,
    Precision,
)
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.forward.prepacked import is_worthwhile, prepack, restore
from classwire_server.errors import CheckpointError

from .calibration import accepts
from .parity import ParityCheck
from .timing import median_s, sample_of

log = logging.getLogger(__name__)

SAMPLE_TOKENS = 256
"""Tokens of the batch that precisions are timed on."""

TorchEngine = PackedEngine | GroupedEngine

Build = Callable[[PreTrainedModel, Precision], TorchEngine]
"""Builds an engine in a precision. Converts the model in place."""


def prepacked(
    engine: TorchEngine, model: PreTrainedModel, parity_check: ParityCheck
) -> tuple[Deviation | None, Choice]:
    """Reorder the weights of a float32 engine's model, in place, if that is faster and keeps its
    scores.

    The deviation is None if the weights stay as they are.
    """
    if not is_worthwhile():
        why = "reordered weights are no faster without AVX-512"
        return None, Choice("float32 weights", "as stored", why)
    prepack(model)
    try:
        deviation = parity_check.deviation(engine)
        if deviation.max_score_difference <= parity_check.tolerance:
            why = f"faster with AVX-512, scores {within(deviation)}"
            return deviation, Choice("float32 weights", "reordered", why)
        why = f"scores would move by {deviation.max_score_difference:.1e}"
    except Exception as error:  # a model's code may read the weights of its layers
        why = (str(error).splitlines() or [type(error).__name__])[0]
    restore(model)
    log.info("%s: weights are not reordered (%s)", parity_check.checkpoint.name, why)
    return None, Choice("float32 weights", "as stored", why)


def in_precision(
    precision: Precision, model: PreTrainedModel, build: Build, parity_check: ParityCheck
) -> tuple[TorchEngine, Deviation]:
    """Build the engine in the user's precision. Converts the model in place."""
    engine = build(model, precision)
    deviation = parity_check.deviation(engine)
    if not math.isfinite(deviation.max_score_difference):
        raise CheckpointError(
            f"{parity_check.checkpoint.location}: its logits are not finite in {precision.value}"
        )
    return engine, deviation


def in_fastest_precision(
    config: ServerConfig,
    model: PreTrainedModel,
    build: Build,
    device: str,
    parity_check: ParityCheck,
) -> tuple[TorchEngine, Deviation | None, str]:
    """Build the fastest engine whose scores are close enough to those of float32.

    Returns the engine, its deviation, which is None for float32 itself, and the results of all
    precisions.
    """
    sample = sample_of(parity_check.texts, SAMPLE_TOKENS)
    found: list[str] = []

    def note(precision: Precision, result: str) -> None:
        found.append(f"{precision.value} {result}")
        log.info("%s: %s", parity_check.checkpoint.name, found[-1])

    float32 = build(model, Precision.FLOAT32)
    best_s = median_s(float32, sample)
    if isinstance(float32, PackedEngine):
        float32.model.unpack()
    note(Precision.FLOAT32, f"at {len(sample.ids) / best_s:.0f} tokens/s")
    best: tuple[TorchEngine, Deviation] | None = None
    for precision in FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU:
        engine = None  # frees the memory of a rejected engine before the next is built
        try:
            engine = build(copy.deepcopy(model), precision)
            seconds = median_s(engine, sample, at_most_s=2 * best_s)
        except (RuntimeError, ValueError) as error:  # a device may lack a precision's operators
            note(precision, f"does not run: {error}")
            continue
        rate = f"at {len(sample.ids) / seconds:.0f} tokens/s"
        if seconds >= best_s:
            note(precision, f"{rate}: no faster")
            continue
        deviation = parity_check.deviation(engine)
        accepted = accepts(deviation, config)
        agreement = f"labels agree on {100 * deviation.label_agreement:.1f} %"
        verdict = "accepted" if accepted else "rejected"
        note(precision, f"{rate}, {agreement}, scores {within(deviation)}: {verdict}")
        if accepted:
            best_s, best = seconds, (engine, deviation)
    why = (
        f"the fastest that agrees on {100 * config.min_label_agreement:g} % of labels and has "
        f"scores within {config.max_score_difference:g}: {'; '.join(found)}"
    )
    engine, lower = best or (build(model, Precision.FLOAT32), None)
    return engine, lower, why


def within(deviation: Deviation) -> str:
    """A deviation's largest score difference, in words."""
    return f"within {deviation.max_score_difference:.1e}"
