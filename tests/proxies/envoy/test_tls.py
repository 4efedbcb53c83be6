"""Mutual TLS on both sides of Envoy, with the shipped configuration."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from classwire import Client, Tls, UnavailableError
from classwire_server.server import Server
from tests.contract.engines import FakeEngine, eventually
from tests.proxies.envoy.conftest import StartEnvoy
from tests.proxies.envoy.web import CLASSIFY, send
from tests.security.files import HOST, Pair, ca_file

REPLICA = "classwire.internal"
"""The name that Envoy expects in a replica's certificate."""


@dataclass(frozen=True)
class Secured:
    """Envoy's folder of certificates, and starters of replicas and clients."""

    folder: Path
    replica: Callable[[str], Server]
    client: Callable[[trustme.CA], Tls]
    callers: trustme.CA


@pytest.fixture
def secured(tmp_path: Path, serve: Callable[..., Server], servers: list[Server]) -> Secured:
    """Make three authorities: of the replicas, of Envoy and of the callers."""
    replicas, own, callers = (trustme.CA() for _ in range(3))
    folder = tmp_path / "tls"
    folder.mkdir()
    ca_file(folder, replicas, "replicas-ca").rename(folder / "replicas-ca.crt")
    ca_file(folder, callers, "callers-ca").rename(folder / "callers-ca.crt")
    Pair.at(folder, own.issue_cert(HOST), "envoy").cert.rename(folder / "envoy.crt")
    own_ca = ca_file(tmp_path, own)

    def replica(name: str) -> Server:
        pair = Pair.at(tmp_path, replicas.issue_cert(name), name)
        return serve(
            FakeEngine().launch,
            model=servers[0].config.model,
            tls_client_ca=str(own_ca),
            **pair.settings,
        )

    def client(authority: trustme.CA) -> Tls:
        return Pair.at(tmp_path, authority.issue_cert("caller"), "caller").client_tls(own_ca)

    return Secured(folder, replica, client, callers)


def test_both_sides_prove_who_they_are(start_envoy: StartEnvoy, secured: Secured) -> None:
    """A caller with a certificate gets answers of a replica that requires Envoy's certificate. A
    caller with another authority's certificate gets none.
    """
    envoy = start_envoy([secured.replica(REPLICA).target], model="tiny", tls=secured.folder)

    with Client(envoy.target, tls=secured.client(secured.callers)) as client:
        assert client.classify("I love it").scores
        assert list(client.classify_stream(["I love it"]))
    with (
        Client(envoy.target, tls=secured.client(trustme.CA()), retry=False) as stranger,
        pytest.raises(UnavailableError),
    ):
        stranger.classify("I love it")
    assert eventually(lambda: '"certificate":"OU=' in envoy.log)


def test_json_with_a_certificate(start_envoy: StartEnvoy, secured: Secured) -> None:
    """A caller by JSON must have a certificate too."""
    envoy = start_envoy([secured.replica(REPLICA).target], model="tiny", tls=secured.folder)
    own = secured.client(secured.callers)
    context = ssl.create_default_context(cafile=own.ca)
    call = b'{"input": {"text": "I love it"}}'

    with pytest.raises((ssl.SSLError, ConnectionError)):
        send(envoy.target, CLASSIFY, call, tls=context)
    assert own.cert is not None
    context.load_cert_chain(own.cert, own.key)
    assert send(envoy.target, CLASSIFY, call, tls=context).json["result"]["scores"]


def test_a_replica_of_another_name_gets_no_calls(start_envoy: StartEnvoy, secured: Secured) -> None:
    """Envoy sends no call to a server whose certificate has another name."""
    right, wrong = secured.replica(REPLICA), secured.replica("other.internal")

    envoy = start_envoy([right.target, wrong.target], model="tiny", tls=secured.folder)

    assert envoy.ready() == {right.target}
    with Client(envoy.target, tls=secured.client(secured.callers), retry=False) as client:
        assert all(client.classify("I love it").scores for _ in range(10))
