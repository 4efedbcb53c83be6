"""What a server and the worker process of a model say to each other.

Both run the same code and trust each other: messages are pickled. A worker has one control
connection and, for each batch that it may hold, one connection on which batches and logits take
turns; the first of these is for urgent batches.
"""

import pickle
import socket
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation, EngineTraits, Terms
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.engine.packing import PackedTexts
from classwire_server.errors import StartError

Link = Connection


@dataclass(frozen=True)
class Job:
    """The first word of the server: what to serve, on which device, and what passes cost there if
    that is known.
    """

    source: ModelSource
    config: ServerConfig
    device: str
    profile: LatencyProfile | None = None


@dataclass(frozen=True)
class Ready:
    """The worker answers batches: `lanes` at the same time, best of `batch_tokens` each."""

    checkpoint: Checkpoint
    traits: EngineTraits
    deviation: Deviation
    lanes: int
    batch_tokens: int
    profile: LatencyProfile
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Refused:
    """The worker cannot serve what it was asked to."""

    error: StartError


@dataclass(frozen=True)
class Changed:
    """From now on another engine computes."""

    traits: EngineTraits
    deviation: Deviation


@dataclass(frozen=True, eq=False)
class Work:
    """A batch, and how it is to be computed."""

    texts: PackedTexts
    terms: Terms


@dataclass(frozen=True, eq=False)
class Computed:
    """Logits of a batch in packed order: float32, (texts, labels)."""

    values: np.ndarray
    traits: EngineTraits
    inference_s: float
    began_s: float


@dataclass(frozen=True)
class Late:
    """A batch was not begun by the time that its terms name."""


@dataclass(frozen=True)
class Failed:
    """A batch has no logits. `problem` holds nothing of its texts."""

    problem: str


def send(connection: Link, message: object) -> None:
    """Send one message. Raises OSError when the other side has gone."""
    connection.send_bytes(pickle.dumps(message, protocol=5))


def receive(connection: Link) -> Any:
    """Wait for one message. Raises EOFError or OSError when the other side has gone."""
    return pickle.loads(connection.recv_bytes())


def hang_up(connection: Link) -> None:
    """End a connection for both sides, and for threads that wait for it; it stays to be closed."""
    ours = socket.socket(fileno=connection.fileno())
    with suppress(OSError):  # the other side has gone
        ours.shutdown(socket.SHUT_RDWR)
    ours.detach()
