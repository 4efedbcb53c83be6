"""From the plain engine to the compiled one, while the plain one answers."""

import logging

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, Precision
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.selection.calibration import accepts
from classwire_server.engine.selection.choice import Selection
from classwire_server.errors import CompileError

log = logging.getLogger(__name__)

ROUNDING = 1.5
"""The largest of many rounding errors may be so many times that of other code for the same sums."""


def compiled(
    selection: Selection, source: ModelSource, config: ServerConfig
) -> tuple[Runner, Deviation] | None:
    """The compiled engine and its measured deviation, once its scores are found to be right.

    From the cache when it is there; else compiled now, which takes a minute or so. None when there
    is no compiled engine to be had: the log says why. Runs in the worker, on one thread.
    """
    name = selection.checkpoint.name
    try:
        runner = _compiled_engine(selection, source, config)
        deviation = selection.trial.deviation(runner)
        if not _as_good(deviation, selection, config):
            raise CompileError(f"its scores would move by {deviation.max_score_difference:.1e}")
    except Exception as error:  # whatever it is, the plain engine goes on
        why = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("%s: not compiled, goes on uncompiled: %s", name, why)
        return None
    log.info(
        "%s: compiled, labels agree with plain float32 on %.1f %%, scores within %.1e",
        name,
        100 * deviation.label_agreement,
        deviation.max_score_difference,
    )
    return selection.finished(runner), deviation


def _compiled_engine(
    selection: Selection, source: ModelSource, config: ServerConfig
) -> PackedEngine:
    from .cache import CompileCache, cache_folder
    from .export import CompiledModel, artefact_key
    from .process import compile_elsewhere

    plain = selection.engine
    if not isinstance(plain, PackedEngine):
        raise CompileError("only models that can be packed are compiled")
    if plain.traits.device != "cpu":
        raise CompileError("only the CPU's engine is compiled")
    key = artefact_key(selection.checkpoint.fingerprint, plain.traits.precision)
    folder = CompileCache(cache_folder(config.compile_cache)).find(key)
    if folder is None:
        log.info("%s: compiling in the background", selection.checkpoint.name)
        folder = compile_elsewhere(source, config, plain.traits.precision).folder
    lanes = selection.division.lanes + 1  # one for urgent batches
    return plain.with_forward(CompiledModel(folder, plain.model, lanes))


def _as_good(compiled: Deviation, selection: Selection, config: ServerConfig) -> bool:
    """Whether compiled scores are as near to plain float32 as those of the plain engine, or as near
    as they must be.
    """
    if selection.engine.traits.precision is Precision.FLOAT32:
        return compiled.max_score_difference <= selection.trial.tolerance
    plain = selection.deviation
    least_agreement = plain.label_agreement - (1 - config.min_label_agreement)
    about_as_good = (
        compiled.label_agreement >= least_agreement
        and compiled.max_score_difference <= ROUNDING * plain.max_score_difference
    )
    return about_as_good or accepts(compiled, config)
