"""The engine of an earlier start, built again by what that start measured."""

from dataclasses import replace

import numpy as np

from classwire_server.engine import Choice, Execution
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.forward.prepacked import prepack
from classwire_server.errors import CompileError

from .choice import Prepared, Selection, as_run
from .layouts import Build, TorchEngine
from .measurement import Measurement
from .parity import ParityCheck


class NotTheSame(Exception):
    """A rebuilt engine does not compute what the measured one computed."""


def rebuilt(prepared: Prepared, measurement: Measurement) -> Selection:
    """Build the measured engine, warm it up, and compare its logits of the measurement's sample.

    Changes the checkpoint's model. Raises NotTheSame or CompileError, or whatever the model's code
    raises. The prepared checkpoint is then of no further use.
    """
    read, config, device = prepared.read, prepared.config, prepared.device
    checkpoint = replace(
        read.checkpoint,
        fingerprint=measurement.fingerprint,
        max_tokens=measurement.max_tokens,
        takes_pairs=measurement.takes_pairs,
    )
    model = read.model.to(device)  # type: ignore[arg-type]
    build = Build(measurement.layout, checkpoint.input_names, device)
    engine: TorchEngine = build.engine(model, measurement.precision)
    if measurement.has_reordered_weights:
        prepack(model)
    if measurement.execution is Execution.COMPILED:
        from classwire_server.engine.compilation.artefacts import cached_engine

        assert isinstance(engine, PackedEngine)
        compiled = cached_engine(engine, checkpoint, config, prepared.division.lanes)
        if compiled is None:
            raise CompileError("its compiled model is no longer in the cache")
        engine = compiled
    sample = measurement.sample
    check = ParityCheck(checkpoint, sample.texts, np.array(sample.logits, dtype=np.float32))
    moved = check.deviation(as_run(engine, config.deterministic)).max_score_difference
    if moved > max(check.tolerance, measurement.deviation.max_score_difference):
        raise NotTheSame(f"its scores have moved by {moved:.1e}")
    why = "by an earlier start with these files, versions, processor and settings"
    return Selection(
        checkpoint,
        engine,
        measurement.layout,
        measurement.has_reordered_weights,
        measurement.deviation,
        check,
        prepared.division,
        config.batch_tokens or measurement.profile.best_tokens,
        measurement.profile,
        config.deterministic,
        (*prepared.choices, Choice("engine", "as measured", why)),
    )
