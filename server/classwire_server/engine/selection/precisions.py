"""Engines of a checkpoint in other precisions, and float32 with reordered weights."""

import copy
import logging
import math
from collections.abc import Callable, Iterable

from transformers import PreTrainedModel

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation, Precision
from classwire_server.engine.forward.prepacked import is_worthwhile, prepack, restore
from classwire_server.errors import CheckpointError, telling_line

from .calibration import accepts
from .layouts import TorchEngine
from .parity import ParityCheck

log = logging.getLogger(__name__)

EngineBuilder = Callable[[PreTrainedModel, Precision], TorchEngine]
"""Builds an engine of a model in a precision. Converts the model in place."""


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
        why = telling_line(error)
    restore(model)
    log.info("%s: weights are not reordered (%s)", parity_check.checkpoint.name, why)
    return None, Choice("float32 weights", "as stored", why)


def in_precision(
    precision: Precision, model: PreTrainedModel, build: EngineBuilder, parity_check: ParityCheck
) -> tuple[TorchEngine, Deviation]:
    """Build the engine in the user's precision. Converts the model in place.

    Raises CheckpointError, which gives the reason, when the model does not run in it.
    """
    location = parity_check.checkpoint.location
    try:
        engine = build(model, precision)
        deviation = parity_check.deviation(engine)
    except Exception as error:  # a model's code may read or assume anything of its layers
        raise CheckpointError(
            f"{location}: does not run in {precision.value}: {telling_line(error)}"
        ) from error
    if not math.isfinite(deviation.max_score_difference):
        raise CheckpointError(f"{location}: its logits are not finite in {precision.value}")
    return engine, deviation


def in_first_precision(
    precisions: Iterable[Precision],
    config: ServerConfig,
    model: PreTrainedModel,
    build: EngineBuilder,
    parity_check: ParityCheck,
) -> tuple[TorchEngine, Deviation | None, str]:
    """Build the engine in the first of these precisions whose scores are close enough to those of
    float32; in float32 if there is none.

    Returns the engine, its deviation, which is None for float32, and the results of those tried.
    """
    found: list[str] = []
    chosen = None
    for precision in precisions:
        chosen, result = _if_close_enough(precision, config, model, build, parity_check)
        found.append(result)
        log.info("%s: %s", parity_check.checkpoint.name, result)
        if chosen is not None:
            break
    engine, deviation = chosen or (build(model, Precision.FLOAT32), None)
    why = (
        f"the first that agrees on {100 * config.min_label_agreement:g} % of labels and has "
        f"scores within {config.max_score_difference:g}: {'; '.join(found)}"
    )
    return engine, deviation, why


def _if_close_enough(
    precision: Precision,
    config: ServerConfig,
    model: PreTrainedModel,
    build: EngineBuilder,
    parity_check: ParityCheck,
) -> tuple[tuple[TorchEngine, Deviation] | None, str]:
    """Build the engine of a copy of the model. Returns it if auto may take it, and the result."""
    try:
        engine = build(copy.deepcopy(model), precision)
        deviation = parity_check.deviation(engine)
    except Exception as error:  # the model's code, torch or the device may not support it
        return None, f"{precision.value} does not run: {telling_line(error)}"
    is_accepted = accepts(deviation, config)
    agreement = f"labels agree on {100 * deviation.label_agreement:.1f} %"
    verdict = "accepted" if is_accepted else "rejected"
    result = f"{precision.value}: {agreement}, scores {within(deviation)}, {verdict}"
    return ((engine, deviation) if is_accepted else None), result


def within(deviation: Deviation) -> str:
    """A deviation's largest score difference, in words."""
    return f"within {deviation.max_score_difference:.1e}"
