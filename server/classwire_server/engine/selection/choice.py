"""The choice of a checkpoint's engine, by measurement. Runs in the worker process."""

import logging
import os
from dataclasses import dataclass

import torch

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation, Layout, Precision
from classwire_server.engine.compilation.cache import cache_folder
from classwire_server.engine.cores import Division, cores_choice, divide, divide_gpu, usable_cores
from classwire_server.engine.forward.attention import gpu_attention
from classwire_server.engine.forward.device import choose_device, prepare
from classwire_server.engine.forward.graphs import GraphedEngine
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.latency_profile import (
    LAST_TOKENS,
    NEAR_ENOUGH,
    LatencyProfile,
    measure_profile,
)
from classwire_server.errors import ConfigError

from .calibration import calibration_texts
from .direct_use import DirectUse
from .graphs import graphed
from .layouts import TorchEngine, choose_layout, unpack
from .parity import ParityCheck, check_by_direct_use, check_by_engine
from .precisions import in_first_precision, in_precision, prepacked
from .processor import faster_than_float32, this_processor
from .sample import sample_of
from .stages import stage

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen engine, and the measurements behind the choice.

    `parity_check` is for further engines of the same checkpoint. `choices` gives the reasons.
    """

    checkpoint: Checkpoint
    engine: TorchEngine | GraphedEngine
    deviation: Deviation
    parity_check: ParityCheck
    division: Division
    batch_tokens: int
    profile: LatencyProfile
    deterministic: bool
    choices: tuple[Choice, ...]

    def finished(self, engine: Runner) -> Runner:
        """The engine as the worker runs it: one text at a time if deterministic."""
        return _as_run(engine, self.deterministic)


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
    prepare(device)
    with stage(source.name, "reading the weights"):
        checkpoint, model, tokenizer = load_checkpoint(source, config)
        model = model.to(device)  # type: ignore[arg-type]
    with stage(source.name, "comparing its scores with transformers"):
        float32_check = check_by_direct_use(checkpoint, DirectUse(model, tokenizer))
        checkpoint = float32_check.checkpoint
        layout = choose_layout(model, device, division.lanes, float32_check)
    engine, deviation, parity_check = layout.engine, layout.deviation, float32_check
    choices.append(Choice("layout", layout.build.layout, layout.why))
    faster = faster_than_float32(device, this_processor())
    tried = ", ".join(precision.value for precision in (*faster, Precision.FLOAT32))
    why = f"set by --precision; auto would try {tried}"
    if config.precision == "auto" and not faster:
        why = "the table has no faster precision for this processor"
    elif config.precision != Precision.FLOAT32.value:
        with stage(source.name, "comparing precisions"):
            torch.set_num_threads(1)  # the deviation must not depend on the number of cores
            parity_check = check_by_engine(
                checkpoint, calibration_texts(config.calibration), engine
            )
            unpack(engine)
            build = layout.build.engine
            if config.precision == "auto":
                engine, lower, why = in_first_precision(faster, config, model, build, parity_check)
                deviation = lower or deviation
            else:
                precision = Precision(config.precision)
                engine, deviation = in_precision(precision, model, build, parity_check)
            torch.set_num_threads(division.threads)
    choices.append(Choice("precision", engine.traits.precision.value, why))
    if device.startswith("cuda") and engine.traits.layout is Layout.PACKED:
        choices.append(gpu_attention(engine.traits.precision, device))
    if engine.traits.precision is Precision.FLOAT32 and device == "cpu":
        with stage(source.name, "reordering the weights"):
            reordered, choice = prepacked(engine, model, float32_check)
        deviation = reordered or deviation
        choices.append(choice)
    if device == "cpu":
        choices += _execution(config)
    chosen: TorchEngine | GraphedEngine = engine
    if device.startswith("cuda"):
        with stage(source.name, "recording CUDA graphs"):
            found, choice = graphed(engine, deviation, parity_check, config)
        chosen = found or engine
        choices.append(choice)
    is_measured = profile is None
    if profile is None:
        with stage(source.name, "measuring passes"):
            profile = _measured_profile(chosen, float32_check, config)
    choices.append(_batches(profile, config))
    if is_measured:
        log.debug("%s: batches of %s: %s", checkpoint.name, choices[-1].value, choices[-1].why)
    return Selection(
        checkpoint,
        chosen,
        deviation,
        parity_check,
        division,
        config.batch_tokens or profile.best_tokens,
        profile,
        config.deterministic,
        tuple(choices),
    )


def _as_run(engine: Runner, deterministic: bool) -> Runner:
    return OneByOne(engine) if deterministic else engine


def _measured_profile(
    engine: TorchEngine | GraphedEngine, parity_check: ParityCheck, config: ServerConfig
) -> LatencyProfile:
    runner = _as_run(engine, config.deterministic)
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
