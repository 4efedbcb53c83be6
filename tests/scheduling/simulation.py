"""A scheduler and a simulated engine, on a clock that the test moves."""

import itertools
import math
from collections.abc import Hashable
from queue import SimpleQueue

import numpy as np

from classwire_server.engine import EngineTraits, Execution, Layout, Logits, Precision
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority, key_of
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Bounds, Scheduler
from classwire_server.tokenization import Encoding, Text

TRAITS = EngineTraits("cpu", Precision.FLOAT32, Execution.PLAIN, Layout.PADDED)
START_S = 1_000.0

QUICK = LatencyProfile((1,), (0.0,))
"""An engine whose small passes are as fast per token as large ones."""
PROFILE = LatencyProfile((16, 1_000), (0.032, 1.016))
"""An engine whose pass takes 16 ms, and 1 ms for each token."""
FULL_TOKENS = 112
"""A pass that takes four times the smallest: the limit of an urgent batch."""
ENOUGH_TOKENS = 82
"""A pass that has 0.85 of the best rate: bulk work fills batches up to this."""

_ids = itertools.count(1)


def waiting(
    tokens: int = 10,
    priority: Priority = Priority.INTERACTIVE,
    deadline_s: float = math.inf,
    flow: Hashable = None,
    same_as: Pending | None = None,
) -> Pending:
    """A text with ids of its own, or with the ids of another."""
    ids = same_as.encoding.ids if same_as else [next(_ids)] * tokens
    encoding = Encoding(ids, [0] * len(ids), 0, Text("x"), None)
    pending = Pending(encoding, priority, SimpleQueue(), deadline_s, flow)
    pending.key = key_of(encoding)
    return pending


def logits(texts: int, inference_s: float = 0.0) -> Logits:
    """The logits of a number of texts: each has its place in the batch as its logit."""
    values = np.arange(texts, dtype=np.float32).reshape(-1, 1)
    return Logits(values, TRAITS, inference_s, began_s=0.0)


class Simulation:
    """An engine whose pass takes `pass_s` plus `token_s` for each token."""

    def __init__(
        self,
        *,
        lanes: int = 1,
        batch_tokens: int = 1_024,
        max_queue_tokens: int = 262_144,
        cache_bytes: int = 0,
        pass_s: float = 0.002,
        token_s: float = 0.000_1,
    ) -> None:
        self.scheduler = Scheduler(
            lanes=lanes,
            batch_tokens=batch_tokens,
            profile=LatencyProfile(
                (16, 16_384), (pass_s + 16 * token_s, pass_s + 16_384 * token_s)
            ),
            bounds=Bounds(max_queue_tokens, cache_bytes),
        )
        self.now_s = START_S
        self.pass_s = pass_s
        self.token_s = token_s
        self.batches: list[Batch] = []
        self.ended_s: dict[Pending, float] = {}
        self._lanes = lanes
        self._on_lanes: list[tuple[float, Batch]] = []  # with the end of each
        self._ahead: list[Batch] = []

    def call(self, *texts: Pending) -> RequestError | None:
        """Queue a call's texts; returns the error if the scheduler rejects them."""
        try:
            self.scheduler.admit(texts, self.now_s)
        except RequestError as error:
            return error
        self.add(*texts)
        return None

    def add(self, *texts: Pending) -> None:
        """Queue a stream's texts."""
        self.scheduler.add(texts, self.now_s)
        self._take()

    def until(self, then_s: float) -> None:
        """Move the clock, with all events until then."""
        while True:
            next_s = min(
                [end_s for end_s, _ in self._on_lanes] + [self.scheduler.earliest_deadline_s]
            )
            if next_s > then_s:
                break
            self.now_s = max(self.now_s, next_s)
            for end_s, batch in list(self._on_lanes):
                if end_s <= self.now_s:
                    self._on_lanes.remove((end_s, batch))
                    if self._ahead:
                        self._begin(self._ahead.pop(0))
                    self.scheduler.finish(batch, [self._pass(batch)], self.now_s)
            self._take()
        self.now_s = then_s

    def _take(self) -> None:
        self.scheduler.expire(self.now_s)
        while batch := self.scheduler.take_urgent(self.now_s) or self.scheduler.take(self.now_s):
            self.batches.append(batch)
            if batch.is_urgent or len(self._on_lanes) < self._lanes:
                self._begin(batch)
            else:
                self._ahead.append(batch)
        for text in self.scheduler.ended:
            assert text not in self.ended_s
            self.ended_s[text] = self.now_s
        self.scheduler.ended.clear()

    def _begin(self, batch: Batch) -> None:
        self._on_lanes.append((self.now_s + self._seconds(batch), batch))

    def _seconds(self, batch: Batch) -> float:
        return self.pass_s + self.token_s * batch.tokens

    def _pass(self, batch: Batch) -> ForwardPass:
        texts = len(batch.rows)
        return ForwardPass(texts, batch.tokens, logits(texts, self._seconds(batch)))
