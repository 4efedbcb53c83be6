"""Both proxies in front of two servers, and their clients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import trustme

from classwire import Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.contract.engines import FakeEngine
from tests.proxies.proxy import PROXIES, Certificate, Proxy

StartProxy = Callable[..., Proxy]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the loopback address."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = Certificate(*(folder / name for name in ("ca.pem", "tls.crt", "tls.key", "tls.pem")))
    authority.cert_pem.write_to_path(files.authority)
    issued.private_key_pem.write_to_path(files.key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(files.chain, append=True)
    issued.private_key_and_cert_chain_pem.write_to_path(files.both)
    return files


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    """The engine of both servers."""
    return FakeEngine()


@pytest.fixture(scope="session")
def servers(checkpoint: Callable[..., Path], engine: FakeEngine) -> Iterator[list[Server]]:
    """Two servers with every default setting."""
    with ExitStack() as running:
        config = ServerConfig(port=0, model=(f"tiny={checkpoint('bert')}",))
        yield [running.enter_context(Server(config, engine.launch)) for _ in range(2)]


@pytest.fixture(params=PROXIES, ids=lambda kind: kind.binary)
def kind(request: pytest.FixtureRequest) -> type[Proxy]:
    """Each kind of proxy; skips the test where it is not installed."""
    kind: type[Proxy] = request.param
    if kind.path() is None:
        pytest.skip(f"{kind.binary} is not installed")
    return kind


@pytest.fixture
def start_proxy(
    kind: type[Proxy], certificate: Certificate, tmp_path: Path
) -> Iterator[StartProxy]:
    """Starts proxies: `start_proxy([one, other], {"15m": "1s"})`."""
    with ExitStack() as running:

        def start(targets: Sequence[str], edits: dict[str, str] | None = None) -> Proxy:
            return running.enter_context(kind(targets, certificate, tmp_path, edits))

        yield start


@pytest.fixture
def proxy(start_proxy: StartProxy, servers: list[Server]) -> Proxy:
    """A proxy in front of the two servers."""
    return start_proxy([server.target for server in servers])


@pytest.fixture
def credentials(certificate: Certificate) -> grpc.ChannelCredentials:
    """The credentials of callers, which trust the proxy's certificate."""
    return grpc.ssl_channel_credentials(certificate.authority.read_bytes())


@pytest.fixture
def connect_by(credentials: grpc.ChannelCredentials) -> Iterator[Callable[..., Client]]:
    """Creates library clients of a proxy: `connect_by(proxy, retry=False)`."""
    with ExitStack() as clients:

        def connect(proxy: Proxy, *, retry: bool = True) -> Client:
            made = Client(proxy.target, credentials=credentials, retry=retry)
            return clients.enter_context(made)

        yield connect


@pytest.fixture
def channel_by(credentials: grpc.ChannelCredentials) -> Iterator[Callable[[Proxy], grpc.Channel]]:
    """Opens channels to a proxy for bare stubs, each on its own connection."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 100),
    ]
    with ExitStack() as channels:

        def connect(proxy: Proxy) -> grpc.Channel:
            channel = grpc.secure_channel(proxy.target, credentials, options)
            return channels.enter_context(channel)

        yield connect
