"""Engines that fail, each in another way; the rest of the server is real."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    ANY_TIME,
    Deviation,
    EngineTraits,
    Execution,
    Launched,
    Layout,
    Logits,
    Precision,
    Terms,
)
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import NoWorker, WorkerLost
from classwire_server.tokenization import Encoding

from .limits import FAULTY_LOGITS

HOLD, POISON, BOOM, NAN = "hold", "poison", "boom", "nan"
"""Words in texts that make an engine fail."""

BATCH_TOKENS = 1_024
PROFILE = LatencyProfile((BATCH_TOKENS,), (0.001,))


class FaultyEngine:
    """Returns the same logits for every text, or second text, without one of the words above.

    `hold` blocks the engine until `release`; `poison` ends its worker; `boom` raises; `nan` returns
    NaN. With a `failure` there is no worker. `busy` is set while a text blocks the engine.
    """

    def __init__(self, failure: str = "") -> None:
        self.lanes = 1
        self.traits = EngineTraits("cpu", Precision.FLOAT32, Execution.PLAIN, Layout.PACKED)
        self.deviation = Deviation(0, 1.0, 0.0)
        self.failure = failure
        self.workers = ()
        self.busy = threading.Event()
        self._released = threading.Event()

    @property
    def is_up(self) -> bool:
        """Whether the engine has a worker."""
        return not self.failure

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        if self.failure:
            raise NoWorker
        texts = [encoding.source.text_pair or encoding.source.text for encoding in encodings]
        if HOLD in texts:
            self.busy.set()
            self._released.wait()
        if any(POISON in text for text in texts):
            raise WorkerLost(is_alone=True)
        if any(BOOM in text for text in texts):
            raise ValueError("a defect of the engine")
        rows = [[np.nan] * len(FAULTY_LOGITS) if NAN in t else FAULTY_LOGITS for t in texts]
        return Logits(np.array(rows, dtype=np.float32), self.traits, 0.0, time.monotonic())

    def release(self) -> None:
        """Let the blocked text continue."""
        self._released.set()

    def close(self) -> None:
        """Hold nothing."""
        self.release()

    def launch(
        self, source: ModelSource, config: ServerConfig, on_change: Callable[[], None]
    ) -> Launched:
        """Return the loader for a Server: a real checkpoint, and this engine."""
        checkpoint, *_ = load_checkpoint(source, config)
        return Launched(checkpoint, self, BATCH_TOKENS, PROFILE)
