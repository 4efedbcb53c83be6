"""Worker processes with CUDA open: two copies on one device, and a worker that is lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.server import Server
from classwire_server.tokenization import Encoding, Text, Truncation
from tests.parity.direct import TEXTS
from tests.parity.wire import text_input

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

PATIENCE_S = 60.0


class GpuModel:
    """A model on GPU workers of its own, and a text."""

    def __init__(self, folder: Path, device: str) -> None:
        self.changed = threading.Condition()
        config = ServerConfig(
            model=(f"m={folder}",), device=device, precision="bfloat16", batch_tokens=512
        )
        launched = launch(config.sources[0], config, self._notify)
        assert isinstance(launched.engine, WorkerPool)
        self.engine = launched.engine
        tokenization = launched.checkpoint.tokenization(Truncation.REJECT)
        self.text: Encoding = tokenization.encode(Text("I really love this book"), None, "")

    def logits(self) -> np.ndarray:
        """The logits of the text."""
        return self.engine.infer([self.text]).values

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds after a state change."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()


@pytest.fixture
def start(embedded_folder: Path) -> Iterator[Callable[[str], GpuModel]]:
    """Starts the embedded checkpoint on devices: `start("cuda,cuda")`."""
    with ExitStack() as ends:

        def start(device: str) -> GpuModel:
            launched = GpuModel(embedded_folder, device)
            ends.callback(launched.engine.close)
            return launched

        yield start


def test_a_lost_worker(start: Callable[[str], GpuModel]) -> None:
    """A worker that is killed with CUDA open is replaced by one on the same device, in the same
    precision. A text has the same bits then.
    """
    model = start("cuda")
    expected = model.logits()
    (worker,) = model.engine.workers
    assert worker.device == "cuda:0"
    os.kill(worker.pid, signal.SIGKILL)
    model.wait_for(lambda: model.engine.is_up and model.engine.workers[0].restarts)
    (again,) = model.engine.workers
    assert (again.device, again.restarts) == ("cuda:0", 1)
    assert again.pid != worker.pid
    np.testing.assert_array_equal(model.logits(), expected)


def test_two_copies_on_one_device(start: Callable[[str], GpuModel]) -> None:
    """Two workers share a device. When one is lost, the other answers until it is replaced."""
    model = start("cuda,cuda")
    expected = model.logits()
    first, second = model.engine.workers
    assert (first.device, second.device) == ("cuda:0", "cuda:0")
    assert first.pid != second.pid
    os.kill(first.pid, signal.SIGKILL)
    model.wait_for(lambda: not model.engine.workers[0].is_up or model.engine.workers[0].restarts)
    np.testing.assert_array_equal(model.logits(), expected)
    model.wait_for(lambda: model.engine.workers[0].is_up and model.engine.workers[0].restarts)
    np.testing.assert_array_equal(model.logits(), expected)


def test_a_server(embedded_folder: Path) -> None:
    """A server on a GPU answers a batch and names device and precision."""
    settings: dict[str, Any] = {"device": "cuda", "precision": "bfloat16", "batch_tokens": 512}
    config = ServerConfig(port=0, model=(f"m={embedded_folder}",), **settings)
    with Server(config) as server, grpc.insecure_channel(server.target) as channel:
        request = pb.BatchClassifyRequest(inputs=map(text_input, TEXTS))
        response = ClassifyServiceStub(channel).BatchClassify(request, timeout=PATIENCE_S)
        assert all(outcome.HasField("classification") for outcome in response.outcomes)
        assert response.model.precision == pb.PRECISION_BFLOAT16
        shown = ModelServiceStub(channel).GetModel(pb.GetModelRequest(name="m"), timeout=PATIENCE_S)
        assert shown.model.device == "cuda:0"
