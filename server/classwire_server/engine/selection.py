"""Which device and which engine a checkpoint gets, decided by measurement."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from ..checkpoint import Checkpoint, ProblemType
from ..config import ServerConfig
from ..errors import CheckpointError, ConfigError
from ..scoring import scores
from ..tokenization import Encoding, Text, Truncation
from . import Engine
from .packed import PackedEngine
from .stacked import StackedEngine

log = logging.getLogger(__name__)

MAX_DEVIATION = 1e-5
"""Largest difference of a score from plain float32 that an engine may have."""

_SHORT = (
    "I really love this book",
    "Not worth the money.",
    "It's fine, I suppose: nothing special",
    "ok",
    "The room was clean and the staff were kind, but breakfast ended far too early for us.",
    "这本书非常好。 Muy recomendable, lo leería otra vez",
)
CALIBRATION = (
    *(Text(text) for text in _SHORT),
    Text(" ".join(_SHORT * 8)),
    Text("A pair has two texts", "and the second one answers the first"),
)
"""What an engine is compared on: short and long, single and paired, several scripts."""


@dataclass(frozen=True)
class Deviation:
    """A measured difference from plain float32, one text at a time.

    `label_agreement` is the share of texts with the same highest label; `max_score_difference` the
    largest difference of any score, for regression divided by the spread of the float32 answers.
    """

    texts: int
    label_agreement: float
    max_score_difference: float


def prepare_device(config: ServerConfig) -> str:
    """The device to use, with torch's thread count set. Raises ConfigError."""
    if config.torch_threads:
        torch.set_num_threads(config.torch_threads)
    return resolve_device(config.device)


def resolve_device(device: str) -> str:
    """The device to use for a setting: "auto" takes the first of cuda:0, mps and cpu that is there.

    Raises ConfigError when the machine does not have the device asked for.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if gpus else "mps" if mps else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if index >= gpus:
            raise ConfigError("device", f"{device}: this machine has {gpus} CUDA devices for torch")
        return f"cuda:{index}"
    if device == "mps" and not mps:
        raise ConfigError("device", "mps: this machine has none for torch")
    return device


def select_engine(checkpoint: Checkpoint, device: str) -> tuple[Engine, Deviation]:
    """The packed engine where its scores are those of plain float32, else the stacked one.

    Warms the engine up on the way. Raises CheckpointError when the model's logits are not finite.
    """
    encodings = [
        checkpoint.tokenization.encode(text, Truncation.DROP_END, field="") for text in CALIBRATION
    ]
    plain = StackedEngine(checkpoint.model, device, one_by_one=True).infer(encodings)
    if not np.isfinite(plain).all():
        raise CheckpointError(f"{checkpoint.location}: its logits are not finite")
    try:
        return _select_packed(checkpoint, device, encodings, plain)
    except Exception as error:  # any failure of a foreign model under packing means: do not pack it
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
    log.info("%s: cannot be packed (%s); stacking texts of equal length", checkpoint.name, why)
    return _select_stacked(checkpoint, device, encodings, plain)


def _select_packed(
    checkpoint: Checkpoint, device: str, encodings: Sequence[Encoding], plain: np.ndarray
) -> tuple[Engine, Deviation]:
    packed = PackedEngine(checkpoint.model, device)
    with ExitStack() as undo:
        undo.callback(packed.close)
        deviation = measure_deviation(packed, checkpoint, encodings, plain)
        if deviation.max_score_difference > MAX_DEVIATION:
            raise ValueError(f"scores would move by {deviation.max_score_difference:.1e}")
        undo.pop_all()
    return packed, deviation


def _select_stacked(
    checkpoint: Checkpoint, device: str, encodings: Sequence[Encoding], plain: np.ndarray
) -> tuple[Engine, Deviation]:
    stacked = StackedEngine(checkpoint.model, device)
    deviation = measure_deviation(stacked, checkpoint, encodings, plain)
    if deviation.max_score_difference > MAX_DEVIATION:
        raise CheckpointError(
            f"{checkpoint.location}: its scores depend on the other texts of a batch "
            f"(by {deviation.max_score_difference:.1e})"
        )
    return stacked, deviation


def measure_deviation(
    engine: Engine, checkpoint: Checkpoint, encodings: Sequence[Encoding], plain: np.ndarray
) -> Deviation:
    """Compare an engine, all texts in one batch, with plain float32 logits of shape (texts,
    labels).
    """
    measured = engine.infer(encodings)
    expected = np.stack([scores(row, checkpoint.activation) for row in plain])
    actual = np.stack([scores(row, checkpoint.activation) for row in measured])
    difference = float(np.abs(actual - expected).max())
    if checkpoint.problem_type is ProblemType.REGRESSION:
        agreement = 1.0
        difference /= max(float(np.ptp(expected)), 1e-6)
    else:
        agreement = float((actual.argmax(axis=1) == expected.argmax(axis=1)).mean())
    if not np.isfinite(difference):
        difference = float("inf")
    return Deviation(len(encodings), agreement, difference)
