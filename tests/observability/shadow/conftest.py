"""Two models with an engine each, one of which shadows the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Launched
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.observability.metrics.scrape import Scrape
from tests.registry.predictions.engine import NumberedEngine


class Pair:
    """A server with the models `old` and `new`; new scores all texts of old as its shadow."""

    def __init__(self, ends: ExitStack, old: FakeEngine, new: FakeEngine, **settings: Any) -> None:
        self.old, self.new = old, new
        for engine in (old, new):
            ends.callback(engine.release)
        config = ServerConfig(port=0, metrics_port=0, **{"shadow": ("old=new:1",), **settings})
        self.server = ends.enter_context(Server(config, self._launch))
        self.channel = ends.enter_context(grpc.insecure_channel(self.server.target))
        self.stub = ClassifyServiceStub(self.channel)

    def _launch(
        self, source: ModelSource, config: ServerConfig, on_change: Callable[[], None]
    ) -> Launched:
        engine = self.new if source.name == "new" else self.old
        return engine.launch(source, config, on_change)

    def classify(self, text: str, model: str = "old", **how: Any) -> pb.ClassifyResponse:
        """Classify a text."""
        request = pb.ClassifyRequest(model=model, input=pb.TextInput(text=text))
        answer: pb.ClassifyResponse = self.stub.Classify(request, **{"timeout": PATIENCE_S, **how})
        return answer

    def texts(self, comparison: str) -> float:
        """The number of texts with this comparison so far."""
        return Scrape(self.server).value("classwire_shadow_texts_total", comparison=comparison)

    @property
    def is_running(self) -> bool:
        """Whether the shadow runs."""
        return Scrape(self.server).value("classwire_shadow_running") == 1

    def must(self, condition: Callable[["Pair"], bool]) -> None:
        """Wait until the condition holds."""
        assert eventually(lambda: condition(self))


Shadowed = Callable[..., Pair]


@pytest.fixture(scope="session")
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT with five labels."""
    return checkpoint("bert")


@pytest.fixture
def shadowed(bert: Path) -> Iterator[Shadowed]:
    """Start a pair: `shadowed(FakeEngine(), cache_mb=1)`. The old model never blocks, unless
    `may_block`.
    """
    with ExitStack() as ends:

        def start(
            new: FakeEngine | None = None, *, may_block: bool = False, **settings: Any
        ) -> Pair:
            given = {"model": (f"old={bert}", f"new={bert}"), **settings}
            old = NumberedEngine()
            if not may_block:
                old.release()
            return Pair(ends, old, new or NumberedEngine(), **given)

        yield start
