"""Runs many texts on an engine, and finds those that its process does not survive."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from classwire.contract.reasons import Reason
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import ANY_TIME, Launched, Terms
from classwire_server.engine.worker.pool import launch
from classwire_server.errors import NoWorker, WorkerLost
from classwire_server.registry.loader import Launch
from classwire_server.tokenization import Encoding

log = logging.getLogger(__name__)

RESTART_TIMEOUT_S = 600.0
"""How long the model's process may be down, in a row, before the job fails."""
MAX_DEATHS = 2
"""Deaths of a process that held a text alone, after which the text is POISON_INPUT."""
ALONE = Terms(settled=True)

Row = np.ndarray | Reason
"""The logits of a text, (labels,), or why it has none."""


class BulkInference:
    """One model in a process of its own, for one thread. The process ends with this one.

    Raises StartError if the model cannot be served.
    """

    def __init__(self, source: ModelSource, config: ServerConfig, launch: Launch = launch) -> None:
        self._changed = threading.Condition()  # notified when the engine may have come up
        self.launched: Launched = launch(source, config, self._notify)
        self._engine = self.launched.engine
        # One batch more than lanes, so that no lane waits for this process.
        self._lanes = ThreadPoolExecutor(self._engine.lanes + 1)

    def run(self, encodings: Sequence[Encoding]) -> list[Row]:
        """Compute the logits of texts, in their order.

        Batches that fail run again one after the other, in halves, until the text at fault is
        alone. Raises RuntimeError if the model's process does not come back.
        """
        rows: list[Row] = [Reason.INTERNAL] * len(encodings)
        lengths = [len(encoding.ids) for encoding in encodings]
        batches = list(batches_of(lengths, self.launched.batch_tokens))
        suspects = []
        found = self._lanes.map(lambda batch: self._attempt(encodings, batch), batches)
        for batch, values in zip(batches, found, strict=True):
            if values is None:
                suspects.append(batch)
            else:
                _put(rows, batch, values)
        for batch in suspects:
            self._search(encodings, batch, rows)
        return rows

    def close(self) -> None:
        """End the model's process."""
        self._lanes.shutdown()
        self._engine.close()

    def _attempt(self, encodings: Sequence[Encoding], batch: Sequence[int]) -> np.ndarray | None:
        """The logits of a batch; None if it failed."""
        try:
            return self._infer(encodings, batch, ANY_TIME)
        except _Down:
            raise
        except Exception as error:
            log.warning("a batch of %d texts failed: %s", len(batch), type(error).__name__)
            return None

    def _search(self, encodings: Sequence[Encoding], batch: Sequence[int], rows: list[Row]) -> None:
        """Fill the rows of a batch that failed. Nothing else may run meanwhile."""
        reason = Reason.INTERNAL
        for _ in range(MAX_DEATHS):
            try:
                _put(rows, batch, self._infer(encodings, batch, ALONE))
                return
            except _Down:
                raise
            except WorkerLost:
                reason = Reason.POISON_INPUT
            except Exception:  # the process goes on, and the pass would fail again
                reason = Reason.INTERNAL
            if len(batch) > 1 or reason is Reason.INTERNAL:
                break
        if len(batch) == 1:
            rows[batch[0]] = reason
            return
        middle = len(batch) // 2
        self._search(encodings, batch[:middle], rows)
        self._search(encodings, batch[middle:], rows)

    def _infer(
        self, encodings: Sequence[Encoding], batch: Sequence[int], terms: Terms
    ) -> np.ndarray:
        while True:
            try:
                return self._engine.infer([encodings[place] for place in batch], terms).values
            except NoWorker:
                self._wait_until_up()

    def _wait_until_up(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._engine.is_up, RESTART_TIMEOUT_S):
                raise _Down(f"the model {self._engine.failure}")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Down(RuntimeError):
    """The model's process does not come back."""


def batches_of(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the places of the texts of each batch, the shortest texts first.

    A batch has at most `batch_tokens` tokens, or one text.
    """
    batch: list[int] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[place] > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += lengths[place]
    if batch:
        yield batch


def _put(rows: list[Row], batch: Sequence[int], values: np.ndarray) -> None:
    for place, row in zip(batch, values, strict=True):
        rows[place] = row
