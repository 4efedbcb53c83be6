"""The interface between serving and the device: encodings in, logits out.

Nothing here imports torch, so the server's own process does not either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.tokenization import Encoding

from .latency_profile import LatencyProfile


class Precision(Enum):
    """Arithmetic of the forward pass."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


FASTER_ON_CPU = (Precision.INT8, Precision.BFLOAT16)
FASTER_ON_GPU = (Precision.BFLOAT16, Precision.FLOAT16)
"""Precisions that `--precision auto` tries before float32, in this order."""


class Execution(Enum):
    """How the model's operators are run."""

    PLAIN = "plain"
    COMPILED = "compiled"


class Layout(Enum):
    """How the texts of a batch are laid out in memory."""

    PACKED = "packed"
    PADDED = "padded"


@dataclass(frozen=True)
class EngineTraits:
    """What runs the forward pass, as reported to callers; `device` as in "cpu" or "cuda:0"."""

    device: str
    precision: Precision
    execution: Execution
    layout: Layout


@dataclass(frozen=True)
class Deviation:
    """A measured difference of scores: from direct use in float32, from float32 otherwise.

    `label_agreement` is the share of texts with the same highest label. `max_score_difference` is
    the largest difference of any score; for regression it is divided by the range of the float32
    answers.
    """

    texts: int
    label_agreement: float
    max_score_difference: float


@dataclass(frozen=True)
class Choice:
    """A decision of the server, in words for people: `what`, its value, and why."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class Terms:
    """How the worker computes a batch.

    An `urgent` batch starts at once, next to all others. It may preempt a batch that `yields`: one
    of bulk work or of large calls. No batch starts after `begin_by_s`, an instant of the monotonic
    clock, which all processes of a machine share. A `settled` batch waits until its worker has been
    up for a second. A kill at the worker's start then cannot convict its text.
    """

    urgent: bool = False
    yields: bool = False
    begin_by_s: float = math.inf
    settled: bool = False


ANY_TIME = Terms()


@dataclass(frozen=True, eq=False)
class Logits:
    """The logits of a batch.

    `values` are float32, (texts, labels), in the order of the texts. `traits` describes the engine
    that computed them, `inference_s` is the time on the device, and `began_s` the start by the
    monotonic clock.
    """

    values: np.ndarray
    traits: EngineTraits
    inference_s: float
    began_s: float


@dataclass(frozen=True)
class WorkerState:
    """The state of one worker process. `restarts` counts the processes that replaced another."""

    device: str
    pid: int
    is_up: bool
    restarts: int


class Engine(Protocol):
    """Runs the model.

    `lanes` batches run at the same time. Up to `lanes + 1` threads may call `infer` at once: the
    extra batch waits inside the engine and starts as soon as a lane is free. An urgent batch needs
    no lane: it starts at once unless another urgent batch runs.
    """

    lanes: int

    @property
    def traits(self) -> EngineTraits:
        """What would run the next batch: a compiled engine may replace a plain one."""
        ...

    @property
    def deviation(self) -> Deviation:
        """The measured difference of that engine's scores."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether the engine can compute a batch now."""
        ...

    @property
    def failure(self) -> str:
        """Why the engine can't compute a batch now, in words for people; empty if it can."""
        ...

    @property
    def workers(self) -> Sequence[WorkerState]:
        """The worker processes, always in the same order."""
        ...

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """Compute the logits of the texts.

        Each row depends on its own text alone. Raises NoWorker and TooLate if the batch never
        started, and WorkerLost if its worker ended after it had started it. Any other exception
        means that no text of the batch has an answer.
        """
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True, eq=False)
class Launched:
    """A model that is ready to compute.

    `batch_tokens` is the most efficient batch size, `profile` the measured time of passes on its
    device, `choices` what led to its engines, device by device. `peak_memory_bytes` is the peak of
    its processes until they are ready, 0 if the system does not report it.
    """

    checkpoint: Checkpoint
    engine: Engine
    batch_tokens: int
    profile: LatencyProfile
    choices: tuple[Choice, ...] = ()
    peak_memory_bytes: int = 0
