"""Texts on an engine that loses its worker, or fails, on some of them."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classwire import Reason
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import EMBEDDED_FOLDER, ServerConfig
from classwire_server.errors import StartError
from classwire_server.ray.inference import BulkInference, batches_of
from classwire_server.tokenization import Encoding, Text, Truncation
from tests.contract.engines import LOGITS, PATIENCE_S, FakeEngine


def inference_on(engine: FakeEngine, batch_tokens: int = 16) -> BulkInference:
    """Return an inference of the embedded checkpoint's tokens on an engine."""
    config = ServerConfig(batch_tokens=batch_tokens)
    return BulkInference(ModelSource("m", str(EMBEDDED_FOLDER)), config, engine.launch)


def encoded(inference: BulkInference, *texts: str) -> list[Encoding]:
    """Return the encodings of these texts."""
    tokenization = inference.launched.checkpoint.tokenization(Truncation.REJECT)
    return [tokenization.encode(Text(text), Truncation.REJECT, "") for text in texts]


def outcomes(inference: BulkInference, *texts: str) -> list[object]:
    """Return the reason of each text, None for one that has the engine's logits."""
    rows = inference.run(encoded(inference, *texts))
    assert all(row.tolist() == list(LOGITS) for row in rows if isinstance(row, np.ndarray))
    return [row if isinstance(row, Reason) else None for row in rows]


def test_a_deadly_text_fails_alone() -> None:
    """A text that its worker does not survive twice, alone, is POISON_INPUT; all others have their
    logits.
    """
    engine = FakeEngine()
    inference = inference_on(engine)
    texts = ["good", "fine", "deadly", "bad", "a book", "more books"]
    expected = [Reason.POISON_INPUT if text == "deadly" else None for text in texts]
    assert outcomes(inference, *texts) == expected
    alone = [number for number, batch in enumerate(engine.batches) if batch == ["deadly"]]
    assert len(alone) == 2
    assert all(engine.settled[number] for number in alone)
    inference.close()
    assert engine.closed


def test_a_text_that_fails_leaves_its_neighbours_alone() -> None:
    """A text whose forward pass fails is INTERNAL after one try alone."""
    engine = FakeEngine()
    inference = inference_on(engine)
    assert outcomes(inference, "good", "boom", "fine") == [None, Reason.INTERNAL, None]
    assert engine.batches.count(["boom"]) == 1


def test_texts_wait_for_a_lost_worker() -> None:
    """While no worker is up, texts wait, and have their logits when one is."""
    asked = threading.Event()

    class Asked(FakeEngine):
        def infer(self, *args: Any) -> Any:
            if not self.is_up:
                asked.set()
            return super().infer(*args)

    engine = Asked()
    inference = inference_on(engine)
    engine.lose()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(outcomes(inference, "good", "fine")))
    thread.start()
    assert asked.wait(PATIENCE_S)
    engine.come_back()
    thread.join()
    assert found == [None, None]


def test_a_worker_that_stays_away_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not come back in time ends the job with an error that says why."""
    monkeypatch.setattr("classwire_server.ray.inference.RESTART_TIMEOUT_S", 0.0)
    engine = FakeEngine()
    inference = inference_on(engine)
    engine.lose("its process was killed")
    with pytest.raises(RuntimeError, match="the model its process was killed"):
        inference.run(encoded(inference, "good"))


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([], []),
        ([5, 3, 4], [[1, 2], [0]]),
        ([3, 3, 2], [[2, 0, 1]]),
        ([100, 1], [[1], [0]]),
    ],
)
def test_batches_are_filled(lengths: list[int], batches: list[list[int]]) -> None:
    """Texts fill batches, the shortest first; a text over the limit has a batch of its own."""
    assert list(batches_of(lengths, 8)) == batches


def test_a_checkpoint_that_cannot_be_served_is_refused(tmp_path: Path) -> None:
    """A folder without a checkpoint is a StartError with its path, and leaves no process."""
    with pytest.raises(StartError, match=tmp_path.name):
        BulkInference(ModelSource("m", str(tmp_path)), ServerConfig(), FakeEngine().launch)
