"""Envoy in front of two servers, and its clients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from classwire import Client
from classwire_server.server import Server
from scripts.envoy import Envoy, Settings, program

StartEnvoy = Callable[..., Envoy]
ConnectTo = Callable[..., Client]
ChannelTo = Callable[[str], grpc.Channel]


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip the test where Envoy is not installed."""
    if program() is None:
        pytest.skip("Envoy is not installed: `make envoy` installs it")


@pytest.fixture
def start_envoy(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEnvoy]:
    """Return a function that starts Envoy: `start_envoy([one, other], model="tiny")`."""
    with ExitStack() as running:

        def start(replicas: Sequence[str], **settings: object) -> Envoy:
            folder = tmp_path_factory.mktemp("envoy")
            wanted = Settings(**settings)  # type: ignore[arg-type]
            return running.enter_context(Envoy(folder, replicas, wanted))

        yield start


@pytest.fixture(scope="session")
def envoy(
    installed: None, servers: list[Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Envoy]:
    """Yield an Envoy in front of the two servers, for tests that change neither."""
    folder: Path = tmp_path_factory.mktemp("envoy")
    with Envoy(folder, [server.target for server in servers], Settings(model="tiny")) as started:
        yield started


@pytest.fixture
def connect_to() -> Iterator[ConnectTo]:
    """Create library clients of an address: `connect_to(target, retry=False)`."""
    with ExitStack() as clients:
        yield lambda target, **options: clients.enter_context(Client(target, **options))


@pytest.fixture
def channel_to() -> Iterator[ChannelTo]:
    """Open channels for bare stubs, without retries of gRPC's own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with ExitStack() as channels:
        yield lambda target: channels.enter_context(grpc.insecure_channel(target, options))
