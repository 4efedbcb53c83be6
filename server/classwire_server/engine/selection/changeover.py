"""The changeover from the plain engine to the compiled one, while the plain one serves."""

import logging

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, Precision
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.forward.runner import Runner
from classwire_server.errors import CompileError, telling_line

from .calibration import is_as_close
from .choice import Selection

log = logging.getLogger(__name__)


def compiled(
    selection: Selection, source: ModelSource, config: ServerConfig
) -> tuple[Runner, Deviation] | None:
    """Load the compiled engine, check its scores, and return it with its deviation.

    Compiles the model, in about a minute, if the cache does not have it. Returns None, and logs
    why, if that fails or the scores are wrong. For one thread of the worker.
    """
    name = selection.checkpoint.name
    try:
        runner = _compiled_engine(selection, source, config)
        deviation = selection.parity_check.deviation(runner)
        if not is_acceptable(deviation, selection, config):
            raise CompileError(f"its scores would move by {deviation.max_score_difference:.1e}")
    except Exception as error:  # after any error the plain engine goes on
        why = telling_line(error)
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
    from classwire_server.engine.compilation.artefacts import cached_engine
    from classwire_server.engine.compilation.process import compile_elsewhere

    plain, lanes = selection.engine, selection.division.lanes
    if not isinstance(plain, PackedEngine):
        raise CompileError("only models that can be packed are compiled")
    if plain.traits.device != "cpu":
        raise CompileError("only the CPU's engine is compiled")
    found = cached_engine(plain, selection.checkpoint, config, lanes)
    if found is None:
        log.info("%s: compiling in the background", selection.checkpoint.name)
        compile_elsewhere(source, config, plain.traits.precision)
        found = cached_engine(plain, selection.checkpoint, config, lanes)
    if found is None:
        raise CompileError("the cache has lost the compiled model")
    return found


def is_acceptable(compiled: Deviation, selection: Selection, config: ServerConfig) -> bool:
    """Whether a compiled engine with this deviation may replace the plain one.

    In float32 its scores must be those of plain float32. In lower precision they must be about as
    close as the plain engine's, or within the configured limits.
    """
    if selection.engine.traits.precision is Precision.FLOAT32:
        return compiled.max_score_difference <= selection.parity_check.tolerance
    return is_as_close(compiled, selection.deviation, config)
