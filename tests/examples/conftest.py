"""Fixtures that run the examples, which have the same interface in every language."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.conftest import launch_forked

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Secure:
    """A server that accepts only TLS, and its authority's certificate file."""

    target: str
    authority: str


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Return a server with the embedded checkpoint and a certificate for this machine."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    config = ServerConfig(
        port=0, tls_cert=str(folder / "cert.pem"), tls_key=str(folder / "key.pem")
    )
    with Server(config, launch_forked) as server:
        yield Secure(server.target, str(folder / "ca.pem"))
