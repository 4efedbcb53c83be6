"""A server with a tiny BERT, shared by the tests of the contract, and servers with fake engines."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.conftest import launch_forked
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine

Classify = Callable[..., pb.ClassifyResponse]


@pytest.fixture(scope="session")
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT with five labels, which takes 512 tokens."""
    return checkpoint("bert")


@pytest.fixture(scope="session")
def server(bert: Path) -> Iterator[Server]:
    """A real server with small limits."""
    config = ServerConfig(
        port=0,
        model=(f"tiny={bert}",),
        max_texts_per_call=16,
        stream_window_items=16,
        stream_items_per_message=4,
        max_message_bytes=4_194_304,
    )
    with Server(config, launch_forked) as server:
        yield server


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(server.target) as channel:
        yield channel


@pytest.fixture(scope="session")
def classifier(channel: grpc.Channel) -> ClassifyServiceStub:
    """The generated stub, bare, for the shared server."""
    return ClassifyServiceStub(channel)


@pytest.fixture(scope="session")
def models(channel: grpc.Channel) -> ModelServiceStub:
    """The generated stub, bare, for the shared server."""
    return ModelServiceStub(channel)


@pytest.fixture(scope="session")
def classify(classifier: ClassifyServiceStub) -> Classify:
    """Classifies a text by the shared server: `classify("text", text_pair=None, top_k=1)`."""

    def call(text: str, text_pair: str | None = None, **options: object) -> pb.ClassifyResponse:
        request = pb.ClassifyRequest(
            input=pb.TextInput(text=text, text_pair=text_pair),
            options=pb.ClassifyOptions(**options),  # type: ignore[arg-type]
        )
        return classifier.Classify(request, timeout=PATIENCE_S)

    return call


@pytest.fixture
def converse(channel: grpc.Channel) -> Iterator[Callable[..., Conversation]]:
    """Opens streams to the shared server."""
    opened: list[Conversation] = []

    def start(**config: object) -> Conversation:
        opened.append(Conversation(channel, **config))
        return opened[-1]

    yield start
    for conversation in opened:
        conversation.cancel()


@pytest.fixture
def fake(serve: Callable[..., Server], bert: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with a FakeEngine; releases all slow texts at the end."""
    engines: list[FakeEngine] = []

    def start(engine: FakeEngine, **settings: object) -> Server:
        engines.append(engine)
        return serve(engine.launch, **{"model": (f"tiny={bert}",), **settings})

    yield start
    for engine in engines:
        engine.release()


@pytest.fixture(autouse=True)
def _no_text_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log line of any test contains a caller's text."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        line = f"{record.getMessage()} {record.exc_text or ''}".lower()
        assert "xylomancy" not in line, line
