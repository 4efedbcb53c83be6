"""A server, and everything that the campaign sends to it."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.progress import Say
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.checkpoints import make_checkpoint
from tests.contract.engines import LOGITS, PATIENCE_S, FakeEngine, eventually, readers

from .calls import DEADLINE_S, Calls
from .mutation import MAX_TEXT_BYTES, MOST_ITEMS
from .sockets import Sockets
from .tally import Tally

LABELS = ("entailment", "neutral", "contradiction", "good", "bad")
"""With them every RPC can be answered."""
THREADS = 8
STEP = 1_000
"""Most calls or connections between two checks of the server."""


class QuickEngine(FakeEngine):
    """Gives every text the same logits, and records no call."""

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """Return the logits of the texts."""
        return Logits(
            np.array([LOGITS] * len(encodings), np.float32), self.traits, 0.0, time.monotonic()
        )


class _Errors(logging.Handler):
    """Records logged errors as findings."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(
            "Invalid encoding"
        ):  # gRPC's own complaint about a header
            self._tally.wrong(f"logged: {record.getMessage()[:300]}")


@contextmanager
def listening(tally: Tally) -> Iterator[None]:
    """Count every error that is logged during the block as a finding."""
    errors = _Errors(tally)
    logging.getLogger().addHandler(errors)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(errors)


def fuzz(messages: int, frames: int, seed: int, work: Path, say: Say) -> Tally:
    """Send this many messages and frames to a server, and check the server in between.

    `work` is a folder for its checkpoint; `say` gets the progress.
    """
    tally = Tally()
    model = f"tiny={make_checkpoint('bert', work / 'fuzz', labels=LABELS)}"
    config = ServerConfig(
        port=0,
        model=(model,),
        max_text_bytes=MAX_TEXT_BYTES,
        max_texts_per_call=MOST_ITEMS - 1,
        stream_items_per_message=MOST_ITEMS - 1,
        stream_window_items=MOST_ITEMS - 1,
    )
    with (
        listening(tally),
        Server(config, QuickEngine().launch) as server,
        grpc.insecure_channel(server.target) as channel,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        calls = Calls(channel, seed, tally)
        sockets = Sockets(server.port, seed, tally)
        for what, one, most in (
            ("messages", calls.make, messages),
            ("frames", sockets.open, frames),
        ):
            sent = number = 0
            while sent < most:
                size = min(STEP, 1 + most // 20)
                sent += sum(pool.map(one, range(number, number + size)))
                number += size
                say(f"{sent:,} of {most:,} {what}, {number:,} calls or connections")
                _look(server, channel, tally)
    return tally


def _look(server: Server, channel: grpc.Channel, tally: Tally) -> None:
    """Check that the server answers, and that no call, reader, text or thread stays."""
    try:
        checks: Any = health_pb2_grpc.HealthStub(channel)
        health = checks.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        if health.status != health_pb2.HealthCheckResponse.SERVING:
            tally.wrong("health is not SERVING")
        text = pb.ClassifyRequest(input=pb.TextInput(text="I love it"))
        ClassifyServiceStub(channel).Classify(text, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        tally.wrong(f"the server does not answer: {error}")
    if not server.gate.wait_until_empty(PATIENCE_S):
        tally.wrong("a call is left")
    if not eventually(lambda: not readers()):
        tally.wrong("a reader is left")
    [entry] = server.registry.entries()
    if entry.served is None or entry.served.dispatcher.waiting_texts:
        tally.wrong("a text is left in the queue")
    if server.calls.waiting:
        tally.wrong("a call waits for a thread")
    if threading.active_count() > 4 * server.config.rpc_threads:
        tally.wrong(f"{threading.active_count()} threads")
