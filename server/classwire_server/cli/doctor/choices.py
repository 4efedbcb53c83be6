"""What a server would choose, by the code that chooses, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import FASTER_ON_CPU, FASTER_ON_GPU, Precision
from classwire_server.engine.compilation.cache import cache_folder
from classwire_server.engine.cores import MOST_LANES, usable_cores
from classwire_server.engine.forward.device import resolve
from classwire_server.engine.forward.int8 import weight_levels
from classwire_server.engine.forward.prepacked import is_worthwhile
from classwire_server.engine.latency_profile import LAST_TOKENS, LEAST_BATCH_TOKENS, NEAR_ENOUGH
from classwire_server.engine.selection.choice import division_for
from classwire_server.errors import ConfigError

from .machine import Facts

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Features that compute in bfloat16."""


@dataclass(frozen=True)
class Choice:
    """A value, and what led to it."""

    what: str
    value: str
    why: str


def choices(config: ServerConfig, found: dict[str, Facts]) -> Iterator[Choice]:
    """What would be chosen with these settings on this machine, of which `machine` found this."""
    for wanted in config.devices:
        try:
            device = resolve(wanted)
        except ConfigError as error:
            yield Choice("device", "none", str(error))
            continue
        yield Choice("device", device, _why_device(wanted, device))
        yield from _divided(device, config, found)
        yield _precision(device, config, found)
        if device == "cpu":
            yield _weights()
            yield _compiled(config, found)
            yield _waiting(found)
    yield _batches(config)


def _why_device(wanted: str, device: str) -> str:
    if wanted != "auto":
        return "as --device says"
    if device == "cpu":
        return "torch sees neither a CUDA device nor MPS"
    return "the first that torch sees"


def _divided(device: str, config: ServerConfig, found: dict[str, Facts]) -> Iterator[Choice]:
    division = division_for(device, config)
    if device == "cpu":
        quota = found["processor"]["cores_by_cgroup"]
        limited = "no cgroup limits them" if quota is None else f"a cgroup allows {quota:g}"
        why = f"{found['processor']['cores_open_to_this_process']} open to this process; {limited}"
        yield Choice("cores", str(usable_cores()), why)
        lanes = f"one for each core, at most {MOST_LANES}"
        threads = "the cores, divided among the lanes"
        if config.threads and not config.lanes:
            lanes = "the cores, divided by --threads"
    else:
        lanes = threads = "a GPU computes one batch at a time"
    yield Choice("lanes", str(division.lanes), "as --lanes says" if config.lanes else lanes)
    yield Choice(
        "threads", str(division.threads), "as --threads says" if config.threads else threads
    )


def _precision(device: str, config: ServerConfig, found: dict[str, Facts]) -> Choice:
    candidates = FASTER_ON_CPU if device == "cpu" else FASTER_ON_GPU
    said = "; ".join(f"{each.value}: {_worth(each, device, found)}" for each in candidates)
    if config.precision == Precision.INT8.value and device != "cpu":
        return Choice(
            "precision", "none", f"--precision: int8 runs on the CPU only, not on {device}"
        )
    if config.precision != "auto":
        return Choice("precision", config.precision, f"as --precision says; auto would try {said}")
    bounds = (
        f"labels must agree on {100 * config.min_label_agreement:g} % of the calibration texts and "
        f"scores within {config.max_score_difference:g}"
    )
    return Choice("precision", "the fastest", f"of float32 and those that pass: {said}; {bounds}")


def _worth(precision: Precision, device: str, found: dict[str, Facts]) -> str:
    if device != "cpu":
        return "timed on the device"
    if precision is Precision.INT8:
        try:
            levels = weight_levels()
        except ValueError:
            return "not here, torch has no exact integer products for this processor"
        return f"weights of {levels} levels, whose products are exact here"
    features = BFLOAT16.intersection(found["processor"]["has"])
    if features:
        return f"the processor has {', '.join(sorted(features))}"
    return "the processor has no instructions for it, so hardly faster"


def _weights() -> Choice:
    if is_worthwhile():
        return Choice("float32 weights", "reordered", "faster with AVX-512, where scores stay")
    return Choice("float32 weights", "as stored", "reordered ones are no faster without AVX-512")


def _compiled(config: ServerConfig, found: dict[str, Facts]) -> Choice:
    folder, compiler = cache_folder(config.compile_cache), found["compiler"]["c++"]
    how = f"by {compiler}" if compiler else "no C++ compiler: only what is there already"
    if not config.compile:
        return Choice("compiled", "no", f"without --compile; with it into {folder}, {how}")
    return Choice("compiled", "in the background", f"into {folder}, {how}")


def _waiting(found: dict[str, Facts]) -> Choice:
    said = found["environment"].get("OMP_WAIT_POLICY")
    why = "as the environment says" if said else "a server's own: threads sleep while they wait"
    return Choice("OMP_WAIT_POLICY", said or "passive", why)


def _batches(config: ServerConfig) -> Choice:
    if config.batch_tokens:
        return Choice("batches", f"{config.batch_tokens} tokens", "as --batch-tokens says")
    return Choice(
        "batches",
        "measured at start",
        f"the smallest of {LEAST_BATCH_TOKENS} to {LAST_TOKENS} tokens that reaches "
        f"{100 * NEAR_ENOUGH:g} % of the best rate",
    )
