"""The messages between the server and the worker process of a model.

Both run the same code and trust each other. A worker has one control connection, whose messages are
pickled, and one connection for each batch that it may hold. On the latter, a batch, its `Begun` and
its logits follow each other, in the layout of `wire`; the first is for urgent batches.
"""

import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from classwire_server.checkpoint.contents import ReadContents
from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation, EngineTraits, Terms
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.selection.measurement import Measurement
from classwire_server.errors import StartError

Link = Connection


@dataclass(frozen=True)
class Job:
    """The server's first message: what to serve, and on which device.

    A worker that replaces another gets its `measurement`, and the `files` of its Settled. With
    `anew` it measures whatever earlier starts have measured.
    """

    source: ModelSource
    config: ServerConfig
    device: str
    measurement: Measurement | None = None
    files: ReadContents | None = None
    anew: bool = False


@dataclass(frozen=True)
class Ready:
    """The worker accepts batches: `lanes` at the same time, of about `batch_tokens` each.

    `peak_memory_bytes` is what a process with this engine needs, 0 if the system does not report
    it.
    """

    checkpoint: Checkpoint
    traits: EngineTraits
    deviation: Deviation
    lanes: int
    batch_tokens: int
    profile: LatencyProfile
    choices: tuple[Choice, ...] = ()
    measurement: Measurement | None = None
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Refused:
    """The worker cannot serve the job's model."""

    error: StartError


@dataclass(frozen=True)
class Changed:
    """Another engine computes from now on."""

    traits: EngineTraits
    deviation: Deviation
    measurement: Measurement


@dataclass(frozen=True)
class Settled:
    """The worker has read these files in the background: the fingerprint is that of its model."""

    files: ReadContents


@dataclass(frozen=True, eq=False)
class Work:
    """A batch, and how to compute it."""

    texts: PackedTexts
    terms: Terms


@dataclass(frozen=True)
class Begun:
    """The worker begins the batch, which from now on may be the cause of the worker's end."""


@dataclass(frozen=True, eq=False)
class Computed:
    """Logits of a batch in packed order: float32, (texts, labels)."""

    values: np.ndarray
    traits: EngineTraits
    inference_s: float
    began_s: float


@dataclass(frozen=True)
class Late:
    """The worker had not started the batch by `begin_by_s`."""


@dataclass(frozen=True)
class Failed:
    """The forward pass of a batch failed. `problem` contains none of its texts."""

    problem: str


def send(connection: Link, message: object) -> None:
    """Send one message. Raises OSError when the other side has closed."""
    connection.send_bytes(pickle.dumps(message, protocol=5))


def receive(connection: Link) -> Any:
    """Wait for one message. Raises EOFError or OSError when the other side has closed."""
    return pickle.loads(connection.recv_bytes())


@contextmanager
def as_socket(connection: Link) -> Iterator[socket.socket]:
    """A connection as a socket, which the block may not close."""
    shared = socket.socket(fileno=connection.fileno())
    try:
        yield shared
    finally:
        shared.detach()


def hang_up(connection: Link) -> None:
    """Shut a connection down for both sides, which wakes waiting threads. Does not close it."""
    with as_socket(connection) as shared, suppress(OSError):  # the other side has closed
        shared.shutdown(socket.SHUT_RDWR)


def name_process(name: str) -> None:
    """Set the name of this process, at most 15 letters, that `ps -e` and `top` show on Linux."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
