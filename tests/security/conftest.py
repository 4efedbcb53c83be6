"""Certificate authorities, and servers with TLS or callers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.security.files import HOST, Pair, ca_file

Listen = Callable[..., Server]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that the tests' clients and servers trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def stranger() -> trustme.CA:
    """An authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that no test changes."""
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="session")
def ca(pki: Path, authority: trustme.CA) -> Path:
    """The authority's certificate."""
    return ca_file(pki, authority)


@pytest.fixture(scope="session")
def pair(pki: Path, authority: trustme.CA) -> Pair:
    """A valid server certificate."""
    return Pair.at(pki, authority.issue_cert(HOST))


@pytest.fixture
def own_pair(tmp_path: Path, authority: trustme.CA) -> Pair:
    """A valid server certificate that a test may replace."""
    return Pair.at(tmp_path, authority.issue_cert(HOST))


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts servers that listen but load no model: `listen(tls_cert=...)`."""
    with ExitStack() as servers:

        def start(**settings: Any) -> Server:
            server = Server(ServerConfig(port=0, **settings))
            servers.callback(server.stop, 0)
            server.listen()
            return server

        yield start


@pytest.fixture(autouse=True)
def _no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check after each test that no log line holds a token, its hash, or a key."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        line = f"{record.getMessage()} {record.exc_text or ''}"
        assert not any(word in line for word in ("cw_", "hmac-sha256:", "PRIVATE KEY")), line
