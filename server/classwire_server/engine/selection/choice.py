"""Which engine a checkpoint gets, decided by measurement. Runs in the worker process."""

import copy
import logging
import math
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import FASTER_ON_CPU, FASTER_ON_GPU, Deviation, Layout, Precision
from classwire_server.engine.cores import Division, divide, usable_cores
from classwire_server.engine.forward.device import resolve
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.forward.prepacked import is_worthwhile, prepack, restore
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.latency_profile import LAST_TOKENS, LatencyProfile, measure_profile
from classwire_server.errors import CheckpointError, ConfigError

from .calibration import PARITY_TEXTS, accepts, calibration_texts
from .parity import ParityCheck, parity_check_of
from .timing import median_s, sample_of

log = logging.getLogger(__name__)

SAMPLE_TOKENS = 256
"""Size of the batch that engines are timed on."""

TorchEngine = PackedEngine | GroupedEngine


@dataclass(frozen=True, eq=False)
class Selection:
    """The engine that was chosen, and what was measured on the way.

    `trial` is what others for the same checkpoint are compared on.
    """

    checkpoint: Checkpoint
    engine: TorchEngine
    deviation: Deviation
    trial: ParityCheck
    division: Division
    batch_tokens: int
    cost: LatencyProfile
    deterministic: bool

    def finished(self, engine: Runner) -> Runner:
        """An engine as it is to be run."""
        return OneByOne(engine) if self.deterministic else engine


def select(
    source: ModelSource, config: ServerConfig, device: str, cost: LatencyProfile | None = None
) -> Selection:
    """Load a checkpoint and choose its engine, warming it up on the way.

    What passes cost is measured unless it is known.

    Raises ConfigError for a device that is not there, and CheckpointError for a checkpoint that
    cannot be served.
    """
    device = resolve(device)
    division = division_for(device, config)
    if config.precision == Precision.INT8.value and device != "cpu":
        raise ConfigError("precision", f"int8 runs on the CPU only, and the device is {device}")
    torch.set_num_threads(division.threads)
    checkpoint, model = load_checkpoint(source, config)
    model = model.to(device)  # type: ignore[arg-type]
    parity = parity_check_of(
        checkpoint, PARITY_TEXTS, GroupedEngine(model, device, one_by_one=True)
    )
    engine, deviation = _in_float32(checkpoint, model, device, parity)
    trial, layout = parity, engine.traits.layout
    if config.precision != Precision.FLOAT32.value:
        torch.set_num_threads(division.lanes * division.threads)  # no other lane is busy yet
        trial = parity_check_of(checkpoint, calibration_texts(config.calibration), engine)
        _unpack(engine)
        if config.precision == "auto":
            engine, lower = _in_fastest_precision(config, model, layout, device, trial)
            deviation = lower or deviation
        else:
            precision = Precision(config.precision)
            engine, deviation = _in_precision(precision, model, layout, device, trial)
        torch.set_num_threads(division.threads)
    if engine.traits.precision is Precision.FLOAT32 and device == "cpu" and is_worthwhile():
        deviation = _prepacked(engine, model, parity) or deviation
    if cost is None:
        cost = _measured_cost(engine, parity, config)
    return Selection(
        checkpoint,
        engine,
        deviation,
        trial,
        division,
        config.batch_tokens or cost.best_tokens,
        cost,
        config.deterministic,
    )


def division_for(device: str, config: ServerConfig) -> Division:
    """How a device is divided; a GPU computes one batch at a time unless the user asks for more."""
    if device == "cpu":
        return divide(usable_cores(), config.lanes, config.threads)
    return Division(config.lanes or 1, config.threads or 1)


def _measured_cost(engine: TorchEngine, trial: ParityCheck, config: ServerConfig) -> LatencyProfile:
    runner = OneByOne(engine) if config.deterministic else engine
    cost = measure_profile(
        lambda tokens: runner.run(sample_of(trial.texts, tokens)),
        config.batch_tokens or LAST_TOKENS,
        is_shared=engine.traits.layout is Layout.PACKED and not config.deterministic,
    )
    rates = zip(cost.tokens, cost.tokens_per_s, strict=True)
    log.info(
        "%s: passes of %d tokens are near the best; %s",
        trial.checkpoint.name,
        cost.best_tokens,
        ", ".join(f"{tokens}: {rate:,.0f} tokens/s" for tokens, rate in rates),
    )
    return cost


def _in_float32(
    checkpoint: Checkpoint, model: PreTrainedModel, device: str, parity: ParityCheck
) -> tuple[TorchEngine, Deviation]:
    """The packed engine where its scores are those of plain float32, else the stacked one."""
    try:
        packed = PackedModel(model)
    except ValueError as error:
        why = str(error)
    else:
        try:
            runner = PackedEngine(packed, device)
            deviation = parity.deviation(runner)
            if deviation.max_score_difference <= parity.tolerance:
                return runner, deviation
            why = f"scores would move by {deviation.max_score_difference:.1e}"
        except Exception as error:  # any failure of a foreign model under packing: do not pack it
            why = (str(error).splitlines() or [type(error).__name__])[0]
        packed.unpack()
    log.info("%s: cannot be packed (%s); stacking texts of equal length", checkpoint.name, why)
    stacked = GroupedEngine(model, device)
    deviation = parity.deviation(stacked)
    if deviation.max_score_difference > parity.tolerance:
        raise CheckpointError(
            f"{checkpoint.location}: its scores depend on the other texts of a batch "
            f"(by {deviation.max_score_difference:.1e})"
        )
    return stacked, deviation


def _prepacked(
    engine: TorchEngine, model: PreTrainedModel, parity: ParityCheck
) -> Deviation | None:
    """Reorder the weights of a float32 engine's model, in place, where its scores stay.

    The deviation is None where they do not, and the weights are as they were.
    """
    prepack(model)
    try:
        deviation = parity.deviation(engine)
        if deviation.max_score_difference <= parity.tolerance:
            return deviation
        why = f"scores would move by {deviation.max_score_difference:.1e}"
    except Exception as error:  # a foreign model may read the weights of its layers
        why = (str(error).splitlines() or [type(error).__name__])[0]
    restore(model)
    log.info("%s: weights are not reordered (%s)", parity.checkpoint.name, why)
    return None


def _in_precision(
    precision: Precision, model: PreTrainedModel, layout: Layout, device: str, trial: ParityCheck
) -> tuple[TorchEngine, Deviation]:
    """The engine in the precision that the user names; the model is converted in place."""
    runner = _build(model, precision, layout, device)
    deviation = trial.deviation(runner)
    if not math.isfinite(deviation.max_score_difference):
        raise CheckpointError(
            f"{trial.checkpoint.location}: its logits are not finite in {precision.value}"
        )
    return runner, deviation


def _in_fastest_precision(
    config: ServerConfig, model: PreTrainedModel, layout: Layout, device: str, trial: ParityCheck
) -> tuple[TorchEngine, Deviation | None]:
    """The fastest engine whose scores are near enough to those of float32.

    Its deviation is None when that is float32 itself.
    """
    name, sample = trial.checkpoint.name, sample_of(trial.texts, SAMPLE_TOKENS)
    float32 = _build(model, Precision.FLOAT32, layout, device)
    best_s = median_s(float32, sample)
    _unpack(float32)
    log.info("%s: float32 at %.0f tokens/s", name, len(sample.ids) / best_s)
    best: tuple[TorchEngine, Deviation] | None = None
    for precision in FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU:
        engine = None  # what was refused makes room for what is tried next
        try:
            engine = _build(copy.deepcopy(model), precision, layout, device)
            seconds = median_s(engine, sample, at_most_s=2 * best_s)
        except (RuntimeError, ValueError) as error:  # a device may lack a precision's operators
            log.info("%s: %s does not run: %s", name, precision.value, error)
            continue
        rate = len(sample.ids) / seconds
        if seconds >= best_s:
            log.info("%s: %s at %.0f tokens/s: no faster", name, precision.value, rate)
            continue
        deviation = trial.deviation(engine)
        accepted = accepts(deviation, config)
        log.info(
            "%s: %s at %.0f tokens/s, labels agree on %.1f %%, scores within %.1e: %s",
            name,
            precision.value,
            rate,
            100 * deviation.label_agreement,
            deviation.max_score_difference,
            "accepted" if accepted else "refused",
        )
        if accepted:
            best_s, best = seconds, (engine, deviation)
    return best or (_build(model, Precision.FLOAT32, layout, device), None)


def _build(
    model: PreTrainedModel, precision: Precision, layout: Layout, device: str
) -> TorchEngine:
    if precision is not Precision.FLOAT32:  # whose weights stay plain while others start from them
        convert(model, precision)
    if layout is Layout.PACKED:
        return PackedEngine(PackedModel(model), device, precision)
    return GroupedEngine(model, device, precision)


def _unpack(engine: TorchEngine) -> None:
    if isinstance(engine, PackedEngine):
        engine.model.unpack()
