"""The choice of a checkpoint's engine, by measurement. Runs in the worker process."""

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
from classwire_server.engine.forward.attention import gpu_attention
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
"""Tokens of the batch that precisions are timed on."""

TorchEngine = PackedEngine | GroupedEngine


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen engine, and the measurements behind the choice.

    `parity_check` is for further engines of the same checkpoint. `choices` gives the reasons.
    """

    checkpoint: Checkpoint
    engine: TorchEngine
    deviation: Deviation
    parity_check: ParityCheck
    division: Division
    batch_tokens: int
    profile: LatencyProfile
    deterministic: bool
    choices: tuple[Choice, ...]

    def finished(self, engine: Runner) -> Runner:
        """The engine as the worker runs it: one text at a time if deterministic."""
        return OneByOne(engine) if self.deterministic else engine


def select(
    source: ModelSource, config: ServerConfig, device: str, profile: LatencyProfile | None = None
) -> Selection:
    """Load a checkpoint, choose its engine, and warm the engine up.

    Measures the latency profile unless one is given. Raises ConfigError for a missing device, and
    CheckpointError for a checkpoint that cannot be served.
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
    float32_check = parity_check_of(
        checkpoint, PARITY_TEXTS, GroupedEngine(model, device, one_by_one=True)
    )
    engine, deviation, why = _in_float32(checkpoint, model, device, float32_check)
    parity_check, layout = float32_check, engine.traits.layout
    choices.append(Choice("layout", layout.value, why))
    faster = FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU
    others = ", ".join(precision.value for precision in faster)
    why = f"set by --precision; auto would choose among float32, {others}"
    if config.precision != Precision.FLOAT32.value:
        torch.set_num_threads(division.lanes * division.threads)  # no other lane is busy yet
        parity_check = parity_check_of(checkpoint, calibration_texts(config.calibration), engine)
        _unpack(engine)
        if config.precision == "auto":
            engine, lower, why = _in_fastest_precision(config, model, layout, device, parity_check)
            deviation = lower or deviation
        else:
            precision = Precision(config.precision)
            engine, deviation = _in_precision(precision, model, layout, device, parity_check)
        torch.set_num_threads(division.threads)
    choices.append(Choice("precision", engine.traits.precision.value, why))
    if device.startswith("cuda") and layout is Layout.PACKED:
        choices.append(gpu_attention(engine.traits.precision))
    if engine.traits.precision is Precision.FLOAT32 and device == "cpu":
        reordered, choice = _prepacked(engine, model, float32_check)
        deviation = reordered or deviation
        choices.append(choice)
    if device == "cpu":
        choices += _execution(config)
    is_measured = profile is None
    profile = profile or _measured_profile(engine, float32_check, config)
    choices.append(_batches(profile, config))
    if is_measured:
        log.info("%s: batches of %s: %s", checkpoint.name, choices[-1].value, choices[-1].why)
    return Selection(
        checkpoint,
        engine,
        deviation,
        parity_check,
        division,
        config.batch_tokens or profile.best_tokens,
        profile,
        config.deterministic,
        tuple(choices),
    )


def _measured_profile(
    engine: TorchEngine, parity_check: ParityCheck, config: ServerConfig
) -> LatencyProfile:
    runner = OneByOne(engine) if config.deterministic else engine
    return measure_profile(
        lambda tokens: runner.run(sample_of(parity_check.texts, tokens)),
        config.batch_tokens or LAST_TOKENS,
        is_shared=engine.traits.layout is Layout.PACKED and not config.deterministic,
    )


def _execution(config: ServerConfig) -> tuple[Choice, Choice]:
    if config.compile:
        folder = cache_folder(config.compile_cache)
        compiled = Choice("compiled", "in the background", f"set by --compile, into {folder}")
    else:
        compiled = Choice("compiled", "no", "without --compile")
    policy = os.environ.get("OMP_WAIT_POLICY", "active")
    why = "passive unless the environment sets it: threads sleep while they wait"
    return compiled, Choice("OMP_WAIT_POLICY", policy, why)


def _batches(profile: LatencyProfile, config: ServerConfig) -> Choice:
    rates = zip(profile.tokens, profile.tokens_per_s, strict=True)
    measured = ", ".join(f"{tokens}: {rate:,.0f} tokens/s" for tokens, rate in rates)
    if config.batch_tokens:
        why = f"set by --batch-tokens; {measured}"
    else:
        why = f"the smallest with {100 * NEAR_ENOUGH:g} % of the best rate; {measured}"
    return Choice("batches", f"{config.batch_tokens or profile.best_tokens} tokens", why)


def _in_float32(
    checkpoint: Checkpoint, model: PreTrainedModel, device: str, parity_check: ParityCheck
) -> tuple[TorchEngine, Deviation, str]:
    """Choose the packed engine if its scores are those of plain float32, else the grouped one.

    Returns the engine, its deviation and the reason.
    """
    try:
        packed = PackedModel(model)
    except ValueError as error:
        why = str(error)
    else:
        try:
            runner = PackedEngine(packed, device)
            deviation = parity_check.deviation(runner)
            if deviation.max_score_difference <= parity_check.tolerance:
                return runner, deviation, f"scores are those of plain float32, {_within(deviation)}"
            why = f"scores would move by {deviation.max_score_difference:.1e}"
        except Exception as error:  # a model that fails in any way when packed is not packed
            why = (str(error).splitlines() or [type(error).__name__])[0]
        packed.unpack()
    why = f"cannot be packed ({why}); grouping texts of equal length"
    log.info("%s: %s", checkpoint.name, why)
    grouped = GroupedEngine(model, device)
    deviation = parity_check.deviation(grouped)
    if deviation.max_score_difference > parity_check.tolerance:
        raise CheckpointError(
            f"{checkpoint.location}: its scores depend on the other texts of a batch "
            f"(by {deviation.max_score_difference:.1e})"
        )
    return grouped, deviation, why


def _prepacked(
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
            why = f"faster with AVX-512, scores {_within(deviation)}"
            return deviation, Choice("float32 weights", "reordered", why)
        why = f"scores would move by {deviation.max_score_difference:.1e}"
    except Exception as error:  # a model's code may read the weights of its layers
        why = (str(error).splitlines() or [type(error).__name__])[0]
    restore(model)
    log.info("%s: weights are not reordered (%s)", parity_check.checkpoint.name, why)
    return None, Choice("float32 weights", "as stored", why)


def _in_precision(
    precision: Precision,
    model: PreTrainedModel,
    layout: Layout,
    device: str,
    parity_check: ParityCheck,
) -> tuple[TorchEngine, Deviation]:
    """Build the engine in the user's precision. Converts the model in place."""
    runner = _build(model, precision, layout, device)
    deviation = parity_check.deviation(runner)
    if not math.isfinite(deviation.max_score_difference):
        raise CheckpointError(
            f"{parity_check.checkpoint.location}: its logits are not finite in {precision.value}"
        )
    return runner, deviation


def _in_fastest_precision(
    config: ServerConfig,
    model: PreTrainedModel,
    layout: Layout,
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

    float32 = _build(model, Precision.FLOAT32, layout, device)
    best_s = median_s(float32, sample)
    _unpack(float32)
    note(Precision.FLOAT32, f"at {len(sample.ids) / best_s:.0f} tokens/s")
    best: tuple[TorchEngine, Deviation] | None = None
    for precision in FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU:
        engine = None  # frees the memory of a rejected engine before the next is built
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
        deviation = parity_check.deviation(engine)
        accepted = accepts(deviation, config)
        agreement = f"labels agree on {100 * deviation.label_agreement:.1f} %"
        verdict = "accepted" if accepted else "rejected"
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
    if precision is not Precision.FLOAT32:  # other precisions convert copies of plain weights
        convert(model, precision)
    if layout is Layout.PACKED:
        return PackedEngine(PackedModel(model), device, precision)
    return GroupedEngine(model, device, precision)


def _unpack(engine: TorchEngine) -> None:
    if isinstance(engine, PackedEngine):
        engine.model.unpack()
