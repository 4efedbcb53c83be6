"""The choice of a checkpoint's engine, by measurement. Runs in the worker process."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from classwire_server.checkpoint.loading import Checkpoint, ReadCheckpoint, read_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation, Layout, Precision
from classwire_server.engine.compilation.cache import cache_folder
from classwire_server.engine.cores import Division, cores_choice, divide, divide_gpu, usable_cores
from classwire_server.engine.forward.attention import gpu_attention
from classwire_server.engine.forward.device import choose_device, forbid_tf32
from classwire_server.engine.forward.graphs import GraphedEngine
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.latency_profile import (
    LAST_TOKENS,
    NEAR_ENOUGH,
    LatencyProfile,
    measure_profile,
)
from classwire_server.engine.stages import stage
from classwire_server.errors import ConfigError

from .calibration import calibration_texts
from .direct_use import DirectUse
from .graphs import graphed
from .layouts import TorchEngine, choose_layout, unpack
from .measurement import Measurement, Sample, peak_memory_bytes
from .parity import ParityCheck, check_by_direct_use, check_by_engine
from .precisions import in_first_precision, in_precision, prepacked
from .processor import faster_than_float32, this_processor
from .sample import sample_of

log = logging.getLogger(__name__)

SAMPLE_TEXTS = 2
"""Texts of a measurement's sample: the shortest ones of the parity check."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen engine, and the measurements behind the choice.

    `layout` is the name of its Build's layout. `parity_check` is for further engines of the same
    checkpoint. `choices` gives the reasons.
    """

    checkpoint: Checkpoint
    engine: TorchEngine | GraphedEngine
    layout: str
    has_reordered_weights: bool
    deviation: Deviation
    parity_check: ParityCheck
    division: Division
    batch_tokens: int
    profile: LatencyProfile
    deterministic: bool
    choices: tuple[Choice, ...]

    def finished(self, engine: Runner) -> Runner:
        """The engine as the worker runs it: one text at a time if deterministic."""
        return as_run(engine, self.deterministic)

    def measurement(self, runner: Runner, deviation: Deviation) -> Measurement:
        """What a later start needs in order to serve this runner, whose deviation is given."""
        texts = self.parity_check.texts
        sample = texts.texts(0, min(SAMPLE_TEXTS, len(texts.lengths)))
        return Measurement(
            self.checkpoint.fingerprint,
            self.checkpoint.max_tokens,
            self.checkpoint.takes_pairs,
            self.layout,
            runner.traits.precision,
            runner.traits.execution,
            self.has_reordered_weights,
            deviation,
            self.profile,
            Sample.of(sample, runner.run(sample)),
            peak_memory_bytes(),
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checkpoint that has been read, on the CPU, and where its engine will run."""

    read: ReadCheckpoint
    config: ServerConfig
    device: str
    division: Division
    choices: tuple[Choice, ...]


def prepare(source: ModelSource, config: ServerConfig, device: str) -> Prepared:
    """Read a checkpoint, and choose its device, lanes and threads.

    Sets torch's number of threads. Raises ConfigError for a missing device, and CheckpointError for
    a checkpoint that cannot be served.
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
    forbid_tf32(device)
    with stage(source.name, "reading the weights"):
        read = read_checkpoint(source, config)
    return Prepared(read, config, device, division, tuple(choices))


def select(source: ModelSource, config: ServerConfig, device: str) -> Selection:
    """Read a checkpoint, choose its engine by measurement, and warm the engine up.

    For tests and benchmarks: a worker takes both steps in EngineStart. Raises ConfigError for a
    missing device, and CheckpointError for a checkpoint that cannot be served.
    """
    return measured(prepare(source, config, device))


def measured(prepared: Prepared) -> Selection:
    """Choose the engine of a checkpoint by measurement, and warm the engine up.

    Changes the checkpoint's model. Raises CheckpointError for a checkpoint that cannot be served.
    """
    read, config, device = prepared.read, prepared.config, prepared.device
    choices, division, name = [*prepared.choices], prepared.division, read.checkpoint.name
    with ThreadPoolExecutor(1, "fingerprint") as background:
        fingerprint = background.submit(read.fingerprint)  # before anything changes the weights
        if device != "cpu":
            fingerprint.result()
        model = read.model.to(device)  # type: ignore[arg-type]
        with stage(name, "comparing its scores with transformers"):
            float32_check = check_by_direct_use(read.checkpoint, DirectUse(model, read.tokenizer))
            layout = choose_layout(model, device, division.lanes, float32_check)
            checkpoint = replace(float32_check.checkpoint, fingerprint=fingerprint.result())
    engine, deviation, parity_check = layout.engine, layout.deviation, float32_check
    choices.append(Choice("layout", layout.build.layout, layout.why))
    faster = faster_than_float32(device, this_processor())
    tried = ", ".join(precision.value for precision in (*faster, Precision.FLOAT32))
    why = f"set by --precision; auto would try {tried}"
    if config.precision == "auto" and not faster:
        why = "the table has no faster precision for this processor"
    elif config.precision != Precision.FLOAT32.value:
        with stage(name, "comparing precisions"):
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
    reordered = None
    if engine.traits.precision is Precision.FLOAT32 and device == "cpu":
        with stage(name, "reordering the weights"):
            reordered, choice = prepacked(engine, model, float32_check)
        deviation = reordered or deviation
        choices.append(choice)
    if device == "cpu":
        choices += _execution(config)
    chosen: TorchEngine | GraphedEngine = engine
    if device.startswith("cuda"):
        with stage(name, "recording CUDA graphs"):
            found, choice = graphed(engine, deviation, parity_check, config)
        chosen = found or engine
        choices.append(choice)
    with stage(name, "measuring passes"):
        profile = _measured_profile(chosen, float32_check, config)
    choices.append(_batches(profile, config))
    log.debug("%s: batches of %s: %s", name, choices[-1].value, choices[-1].why)
    return Selection(
        checkpoint,
        chosen,
        layout.build.layout,
        reordered is not None,
        deviation,
        parity_check,
        division,
        config.batch_tokens or profile.best_tokens,
        profile,
        config.deterministic,
        tuple(choices),
    )


def as_run(engine: Runner, deterministic: bool) -> Runner:
    """The engine as a worker runs it: one text at a time if deterministic."""
    return OneByOne(engine) if deterministic else engine


def _measured_profile(
    engine: TorchEngine | GraphedEngine, parity_check: ParityCheck, config: ServerConfig
) -> LatencyProfile:
    runner = as_run(engine, config.deterministic)
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
