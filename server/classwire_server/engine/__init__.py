"""The seam between serving and the device: encodings in, logits out.

Nothing here imports torch: the server's own process never does.
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
"""What `--precision auto` tries beside float32."""


class Execution(Enum):
    """How the model's operators are run."""

    PLAIN = "plain"
    COMPILED = "compiled"


class Layout(Enum):
    """How the texts of a batch lie side by side."""

    PACKED = "packed"
    PADDED = "padded"


@dataclass(frozen=True)
class EngineTraits:
    """What runs the forward pass, as callers see it; `device` as in "cpu" or "cuda:0"."""

    device: str
    precision: Precision
    execution: Execution
    layout: Layout


@dataclass(frozen=True)
class Deviation:
    """A measured difference from plain float32.

    `label_agreement` is the share of texts with the same highest label; `max_score_difference` the
    largest difference of any score, for regression divided by the spread of the float32 answers.
    """

    texts: int
    label_agreement: float
    max_score_difference: float


@dataclass(frozen=True)
class Choice:
    """What the server chose by itself, in words for people: `what`, its value, and why."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class Terms:
    """How a batch is to be computed: an urgent one beside all others, to which one of bulk work may
    give way; none after `begin_by_s`, an instant of the monotonic clock, which is the same for all
    processes of a machine.
    """

    urgent: bool = False
    bulk: bool = False
    begin_by_s: float = math.inf


ANY_TIME = Terms()


@dataclass(frozen=True, eq=False)
class Logits:
    """What the model said of a batch.

    `values` are float32, (texts, labels), in the order of the texts. `traits` is what computed
    them, `inference_s` how long that took on the device, and `began_s` when it began, by the
    monotonic clock.
    """

    values: np.ndarray
    traits: EngineTraits
    inference_s: float
    began_s: float


@dataclass(frozen=True)
class WorkerState:
    """A process that computes: the last one, when it has ended. `restarts` counts those that took
    over from another.
    """

    device: str
    pid: int
    is_up: bool
    restarts: int


class Engine(Protocol):
    """Runs the model.

    `lanes` batches run at the same time; as many threads as that, and one more, may call `infer` at
    once: the batch that is one too many lies ready and starts the moment a lane is free. An urgent
    batch is beside that: it starts at once, whatever the lanes compute, if it is the only one.
    """

    lanes: int

    @property
    def traits(self) -> EngineTraits:
        """What would run the next batch: a compiled engine takes over from a plain one."""
        ...

    @property
    def deviation(self) -> Deviation:
        """How far that engine's scores are from plain float32."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether a batch could be computed now."""
        ...

    @property
    def failure(self) -> str:
        """Why no batch could be computed now, in words for people; empty when one could."""
        ...

    @property
    def workers(self) -> Sequence[WorkerState]:
        """The processes that compute, always in the same order."""
        ...

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts.

        A row depends on its own text alone. Raises NoWorker and TooLate when the batch was never
        begun, and WorkerLost when what computes ended, or was ended, while it held the batch. Any
        other exception means that no text of the batch has an answer.
        """
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


@dataclass(frozen=True, eq=False)
class Launched:
    """A model that is ready to compute.

    `batch_tokens` is the most efficient batch size, `profile` the measured time of passes on its
    device, `choices` what led to its engines, device by device.
    """

    checkpoint: Checkpoint
    engine: Engine
    batch_tokens: int
    profile: LatencyProfile
    choices: tuple[Choice, ...] = ()
