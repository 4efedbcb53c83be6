"""TLS: which certificates are accepted, how they are reloaded, and the error messages."""

import datetime
import logging
import re
import socket
import ssl
import time
import warnings
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from classwire import Client, Tls, UnavailableError
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from classwire_server.security.certificates import PAUSE_S
from classwire_server.server import Server
from tests.security.conftest import Listen
from tests.security.files import HOST, Pair, ca_file, replace

PATIENCE_S = 20.0
NOT_ACCEPTED = "it may not accept this client's certificate"
LIVENESS = "classwire.liveness"
PAST = datetime.datetime(2020, 1, 1)


def ask(server: Server, tls: bool | Tls) -> None:
    """Make a call on a new connection. Raises the client's error."""
    with Client(server.target, tls=tls, retry=False, timeout_s=PATIENCE_S) as client:
        assert client.health(LIVENESS) == "SERVING"


def shake_hands(server: Server, newest: ssl.TLSVersion) -> str | None:
    """Return the TLS version that a client with this newest version agrees on with the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL itself offers nothing old
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    with (
        socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as bare,
        context.wrap_socket(bare, server_hostname=HOST) as secured,
    ):
        return secured.version()


def certificate(server: Server) -> bytes:
    """Return the certificate that the server presents to a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as bare,
        context.wrap_socket(bare) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def presented(pair: Pair) -> bytes:
    """Return the certificate of a pair in the form that TLS presents."""
    first = pair.cert.read_text().partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(first[0] + first[1])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong host", "its certificate is for another name"),
        ("expired", "its certificate has expired"),
        ("self-signed", "of no authority that is trusted here"),
        ("of a stranger", "of no authority that is trusted here"),
    ],
)
def test_invalid_server_certificates(
    kind: str,
    said: str,
    listen: Listen,
    tmp_path: Path,
    authority: trustme.CA,
    stranger: trustme.CA,
    ca: Path,
) -> None:
    """The client rejects the certificate, and its error gives the reason."""
    if kind == "self-signed":
        pair = Pair(tmp_path / "server.pem", tmp_path / "server.key")
        replace(pair.cert, stranger.cert_pem.bytes())
        replace(pair.key, stranger.private_key_pem.bytes())
    else:
        issuer = stranger if kind == "of a stranger" else authority
        host = "elsewhere.example" if kind == "wrong host" else HOST
        not_after = PAST if kind == "expired" else None
        leaf = issuer.issue_cert(host, not_after=not_after, not_before=PAST.replace(2019))
        pair = Pair.at(tmp_path, leaf)
    server = listen(**pair.settings)

    with pytest.raises(UnavailableError, match=f"no TLS with {server.target}: .*{said}"):
        ask(server, Tls(ca))


def test_server_name(listen: Listen, tmp_path: Path, authority: trustme.CA, ca: Path) -> None:
    """With `server_name`, the certificate must hold that name instead of the target's."""
    server = listen(**Pair.at(tmp_path, authority.issue_cert("classwire.example")).settings)
    ask(server, Tls(ca, server_name="classwire.example"))


def test_plain_text_to_a_server_of_tls(listen: Listen, pair: Pair, ca: Path) -> None:
    """The client's error suggests TLS. The server goes on serving others."""
    server = listen(**pair.settings)
    with pytest.raises(UnavailableError, match="does it ask for TLS"):
        ask(server, False)
    ask(server, Tls(ca))


def test_tls_to_a_server_of_plain_text(listen: Listen, ca: Path) -> None:
    """The client's error names the cause. The server goes on serving others."""
    server = listen()
    with pytest.raises(UnavailableError, match="it does not speak TLS"):
        ask(server, Tls(ca))
    ask(server, False)


def test_authorities_that_come_with_grpc_are_the_default(listen: Listen, pair: Pair) -> None:
    """`tls=True` trusts gRPC's authorities, and not those of the tests."""
    with pytest.raises(UnavailableError, match="of no authority that is trusted here"):
        ask(listen(**pair.settings), True)


def test_nothing_older_than_tls_1_2(listen: Listen, pair: Pair) -> None:
    """The server accepts TLS 1.2 and 1.3, and rejects TLS 1.1."""
    server = listen(**pair.settings)
    assert shake_hands(server, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert shake_hands(server, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(OSError, match=r"EOF|protocol version|reset"):
        shake_hands(server, ssl.TLSVersion.TLSv1_1)


def test_invalid_client_certificates(
    listen: Listen,
    tmp_path: Path,
    pair: Pair,
    authority: trustme.CA,
    stranger: trustme.CA,
    ca: Path,
) -> None:
    """A client needs a valid certificate from --tls-client-ca."""
    server = listen(**pair.settings, tls_client_ca=str(ca))
    old = authority.issue_cert("old.example", not_after=PAST, not_before=PAST.replace(2019))
    good = Pair.at(tmp_path, authority.issue_cert("alice.example"), "good")

    ask(server, good.client_tls(ca))
    for tls, said in (
        (Tls(ca), "it may ask for a certificate"),
        (Pair.at(tmp_path, stranger.issue_cert("bob.example"), "bad").client_tls(ca), NOT_ACCEPTED),
        (Pair.at(tmp_path, old, "old").client_tls(ca), NOT_ACCEPTED),
    ):
        with pytest.raises(UnavailableError, match=said):
            ask(server, tls)
    ask(server, good.client_tls(ca))


def test_an_authority_that_is_removed(
    listen: Listen,
    tmp_path: Path,
    pair: Pair,
    authority: trustme.CA,
    stranger: trustme.CA,
    ca: Path,
) -> None:
    """Clients of a removed authority can no longer connect. Others still can."""
    clients = ca_file(tmp_path, authority, "clients")
    replace(clients, authority.cert_pem.bytes() + stranger.cert_pem.bytes())
    server = listen(**pair.settings, tls_client_ca=str(clients))
    alice = Pair.at(tmp_path, authority.issue_cert("alice.example"), "alice").client_tls(ca)
    bob = Pair.at(tmp_path, stranger.issue_cert("bob.example"), "bob").client_tls(ca)
    ask(server, alice)
    ask(server, bob)

    replace(clients, authority.cert_pem.bytes())

    with pytest.raises(UnavailableError, match=NOT_ACCEPTED):
        ask(server, bob)
    ask(server, alice)


def test_a_certificate_is_replaced_while_the_server_runs(
    listen: Listen, own_pair: Pair, authority: trustme.CA, ca: Path
) -> None:
    """New connections get the new certificate. Open ones go on."""
    server = listen(**own_pair.settings)
    with Client(server.target, tls=Tls(ca), retry=False) as client:
        assert client.health(LIVENESS) == "SERVING"
        before = presented(own_pair)
        assert certificate(server) == before

        own_pair.put(authority.issue_cert(HOST))

        assert certificate(server) == presented(own_pair) != before
        assert client.health(LIVENESS) == "SERVING"


def test_a_pause_while_a_certificate_is_replaced(
    listen: Listen, own_pair: Pair, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No handshake begins during the pause, because gRPC would crash the process: decision 0015.
    Files rewritten with the same contents cause no pause.
    """
    server = listen(**own_pair.settings)
    certificate(server)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    own_pair.put(authority.issue_cert(HOST))
    assert certificate(server) == certificate(server) == presented(own_pair)
    assert pauses == [PAUSE_S]
    replace(own_pair.cert, own_pair.cert.read_bytes())
    assert certificate(server) == presented(own_pair)
    assert pauses == [PAUSE_S]


@pytest.mark.parametrize("bad", ["half", "rubbish", "gone"])
def test_an_invalid_replacement(
    bad: str,
    listen: Listen,
    own_pair: Pair,
    authority: trustme.CA,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The old certificate stays in use with one warning, until there is a valid one."""
    server = listen(**own_pair.settings)
    before = certificate(server)
    new = authority.issue_cert(HOST)

    if bad == "half":
        replace(own_pair.cert, new.cert_chain_pems[0].bytes())
    elif bad == "rubbish":
        replace(own_pair.cert, b"rubbish")
    else:
        own_pair.key.unlink()
    assert certificate(server) == certificate(server) == before
    complaints = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(complaints) == 1
    assert re.search(r"--tls-.*stays in use$", complaints[0].getMessage())

    own_pair.put(new)
    assert certificate(server) == presented(own_pair) != before


@pytest.mark.parametrize(
    ("what", "setting", "said"),
    [
        ("another key", "tls_cert", "the key is not the certificate's"),
        ("rubbish", "tls_cert", "pem"),
        ("an encrypted key", "tls_cert", "the key is encrypted"),
        ("no authorities", "tls_client_ca", "no certificate"),
    ],
)
def test_invalid_files_at_start(
    what: str, setting: str, said: str, own_pair: Pair, authority: trustme.CA, tmp_path: Path
) -> None:
    """The server does not start. Its error is one line that names the setting and the file."""
    settings = dict(own_pair.settings)
    if what == "another key":
        replace(own_pair.key, authority.issue_cert(HOST).private_key_pem.bytes())
    elif what == "rubbish":
        replace(own_pair.cert, b"rubbish")
    elif what == "an encrypted key":
        encryption = BestAvailableEncryption(b"a password")
        key = load_pem_private_key(own_pair.key.read_bytes(), None)
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        replace(own_pair.key, encrypted)
    else:
        rubbish = tmp_path / "rubbish.pem"
        rubbish.write_text("rubbish")
        settings["tls_client_ca"] = str(rubbish)

    with pytest.raises(ConfigError, match=said) as refusal:
        Server(ServerConfig(port=0, **settings))

    assert refusal.value.setting == setting
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
