"""Which engine a checkpoint gets, decided by measurement. Runs in the worker process."""

import copy
import logging
import math
import os
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    FASTER_ON_CPU,
    FASTER_ON_GPU,
    Choice,
    Deviation,
    Layout,
    Precision,
)
from classwire_server.engine.compilation.cache import cache_folder
from classwire_server.engine.cores import Division, cores_choice, divide, divide_gpu, usable_cores
from classwire_server.engine.forward.device import choose_device
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.forward.prepacked import is_worthwhile, prepack, restore
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.latency_profile import (
    LAST_TOKENS,
    NEAR_ENOUGH,
    LatencyProfile,
    measure_profile,
)
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

    `trial` is what others for the same checkpoint are compared on. `choices` tells why.
    """

    checkpoint: Checkpoint
    engine: TorchEngine
    deviation: Deviation
    trial: ParityCheck
    division: Division
    batch_tokens: int
    profile: LatencyProfile
    deterministic: bool
    choices: tuple[Choice, ...]

    def finished(self, engine: Runner) -> Runner:
        """An engine as it is to be run."""
        return OneByOne(engine) if self.deterministic else engine


def select(
    source: ModelSource, config: ServerConfig, device: str, profile: LatencyProfile | None = None
) -> Selection:
    """Load a checkpoint and choose its engine, warming it up on the way.

    It measures the latency profile unless one is given.

    Raises ConfigError for a device that is not there, and CheckpointError for a checkpoint that
    cannot be served.
    """
    choices = [choose_device(device)]
    device = choices[0].value
    if device == "cpu":
        choices.append(cores_choice())
        division = divide(usable_cores(), config.lanes, config.threads)
    else:
        division = divide_gpu(config.lanes, config.threads)
    choices += division.choices
    if config.precision == Precision.INT8.value and device != "cpu":
        raise ConfigError("precision", f"int8 runs on the CPU only, and the device is {device}")
    torch.set_num_threads(division.threads)
    checkpoint, model = load_checkpoint(source, config)
    model = model.to(device)  # type: ignore[arg-type]
    parity = parity_check_of(
        checkpoint, PARITY_TEXTS, GroupedEngine(model, device, one_by_one=True)
    )
    engine, deviation, why = _in_float32(checkpoint, model, device, parity)
    trial, layout = parity, engine.traits.layout
    choices.append(Choice("layout", layout.value, why))
    faster = FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU
    others = ", ".join(precision.value for precision in faster)
    why = f"as --precision says; auto would choose among float32, {others}"
    if config.precision != Precision.FLOAT32.value:
        torch.set_num_threads(division.lanes * division.threads)  # no other lane is busy yet
        trial = parity_check_of(checkpoint, calibration_texts(config.calibration), engine)
        _unpack(engine)
        if config.precision == "auto":
            engine, lower, why = _in_fastest_precision(config, model, layout, device, trial)
            deviation = lower or deviation
        else:
            precision = Precision(config.precision)
            engine, deviation = _in_precision(precision, model, layout, device, trial)
        torch.set_num_threads(division.threads)
    choices.append(Choice("precision", engine.traits.precision.value, why))
    if engine.traits.precision is Precision.FLOAT32 and device == "cpu":
        reordered, choice = _prepacked(engine, model, parity)
        deviation = reordered or deviation
        choices.append(choice)
    if device == "cpu":
        choices += _execution(config)
    is_measured = profile is None
    profile = profile or _measured_profile(engine, parity, config)
    choices.append(_batches(profile, config))
    if is_measured:
        log.info("%s: batches of %s: %s", checkpoint.name, choices[-1].value, choices[-1].why)
    return Selection(
        checkpoint,
        engine,
        deviation,
        trial,
        division,
        config.batch_tokens or profile.best_tokens,
        profile,
        config.deterministic,
        tuple(choices),
    )


def _measured_profile(
    engine: TorchEngine, trial: ParityCheck, config: ServerConfig
) -> LatencyProfile:
    runner = OneByOne(engine) if config.deterministic else engine
    return measure_profile(
        lambda tokens: runner.run(sample_of(trial.texts, tokens)),
        config.batch_tokens or LAST_TOKENS,
        is_shared=engine.traits.layout is Layout.PACKED and not config.deterministic,
    )


def _execution(config: ServerConfig) -> tuple[Choice, Choice]:
    if config.compile:
        folder = cache_folder(config.compile_cache)
        compiled = Choice("compiled", "in the background", f"as --compile says, into {folder}")
    else:
        compiled = Choice("compiled", "no", "without --compile")
    policy = os.environ.get("OMP_WAIT_POLICY", "active")
    why = "passive unless the environment sets it: threads sleep while they wait"
    return compiled, Choice("OMP_WAIT_POLICY", policy, why)


def _batches(profile: LatencyProfile, config: ServerConfig) -> Choice:
    rates = zip(profile.tokens, profile.tokens_per_s, strict=True)
    measured = ", ".join(f"{tokens}: {rate:,.0f} tokens/s" for tokens, rate in rates)
    if config.batch_tokens:
        why = f"as --batch-tokens says; {measured}"
    else:
        why = f"the smallest with {100 * NEAR_ENOUGH:g} % of the best rate; {measured}"
    return Choice("batches", f"{config.batch_tokens or profile.best_tokens} tokens", why)


def _in_float32(
    checkpoint: Checkpoint, model: PreTrainedModel, device: str, parity: ParityCheck
) -> tuple[TorchEngine, Deviation, str]:
    """The packed engine where its scores are those of plain float32, else the stacked one; and why
    it is that one.
    """
    try:
        packed = PackedModel(model)
    except ValueError as error:
        why = str(error)
    else:
        try:
            runner = PackedEngine(packed, device)
            deviation = parity.deviation(runner)
            if deviation.max_score_difference <= parity.tolerance:
                return runner, deviation, f"scores are those of plain float32, {_within(deviation)}"
            why = f"scores would move by {deviation.max_score_difference:.1e}"
        except Exception as error:  # any failure of a foreign model under packing: do not pack it
            why = (str(error).splitlines() or [type(error).__name__])[0]
        packed.unpack()
    why = f"cannot be packed ({why}); stacking texts of equal length"
    log.info("%s: %s", checkpoint.name, why)
    stacked = GroupedEngine(model, device)
    deviation = parity.deviation(stacked)
    if deviation.max_score_difference > parity.tolerance:
        raise CheckpointError(
            f"{checkpoint.location}: its scores depend on the other texts of a batch "
            f"(by {deviation.max_score_difference:.1e})"
        )
    return stacked, deviation, why


def _prepacked(
    engine: TorchEngine, model: PreTrainedModel, parity: ParityCheck
) -> tuple[Deviation | None, Choice]:
    """Reorder the weights of a float32 engine's model, in place, where that is faster and its
    scores stay.

    The deviation is None where the weights are as they were.
    """
    if not is_worthwhile():
        why = "reordered ones are no faster without AVX-512"
        return None, Choice("float32 weights", "as stored", why)
    prepack(model)
    try:
        deviation = parity.deviation(engine)
        if deviation.max_score_difference <= parity.tolerance:
            why = f"faster with AVX-512, scores {_within(deviation)}"
            return deviation, Choice("float32 weights", "reordered", why)
        why = f"scores would move by {deviation.max_score_difference:.1e}"
    except Exception as error:  # a foreign model may read the weights of its layers
        why = (str(error).splitlines() or [type(error).__name__])[0]
    restore(model)
    log.info("%s: weights are not reordered (%s)", parity.checkpoint.name, why)
    return None, Choice("float32 weights", "as stored", why)


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
) -> tuple[TorchEngine, Deviation | None, str]:
    """The fastest engine whose scores are near enough to those of float32, and what each
    precision gave.

    Its deviation is None when that is float32 itself.
    """
    sample = sample_of(trial.texts, SAMPLE_TOKENS)
    found: list[str] = []

    def note(precision: Precision, said: str) -> None:
        found.append(f"{precision.value} {said}")
        log.info("%s: %s", trial.checkpoint.name, found[-1])

    float32 = _build(model, Precision.FLOAT32, layout, device)
    best_s = median_s(float32, sample)
    _unpack(float32)
    note(Precision.FLOAT32, f"at {len(sample.ids) / best_s:.0f} tokens/s")
    best: tuple[TorchEngine, Deviation] | None = None
    for precision in FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU:
        engine = None  # what was refused makes room for what is tried next
        try:
            engine = _build(copy.deepcopy(model), precision, layout, device)
            seconds = median_s(engine, sample, at_most_s=2 * best_s)
        except (RuntimeError, ValueError) as error:  # a device may lack a precision's operators
            note(precision, f"does not run: {error}")
            continue
        rate = f"at {len(sample.ids) / seconds:.0f} tokens/s"
        if seconds >= best_s:
            note(precision, f"{rate}: no faster")
            continue
        deviation = trial.deviation(engine)
        accepted = accepts(deviation, config)
        agreement = f"labels agree on {100 * deviation.label_agreement:.1f} %"
        verdict = "accepted" if accepted else "refused"
        note(precision, f"{rate}, {agreement}, scores {_within(deviation)}: {verdict}")
        if accepted:
            best_s, best = seconds, (engine, deviation)
    why = (
        f"the fastest that agrees on {100 * config.min_label_agreement:g} % of labels and has "
        f"scores within {config.max_score_difference:g}: {'; '.join(found)}"
    )
    engine, lower = best or (_build(model, Precision.FLOAT32, layout, device), None)
    return engine, lower, why


def _within(deviation: Deviation) -> str:
    return f"within {deviation.max_score_difference:.1e}"


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
