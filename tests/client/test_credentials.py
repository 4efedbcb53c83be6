"""Tokens and TLS of both clients: what the client sends, to whom, and what it never shows."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire import InvalidInputError, Reason, Tls
from classwire._connection.credentials import Credentials
from classwire._connection.environment import Security
from classwire.testing import FakeServer
from tests.client.conftest import by_length

MakeClient = Callable[..., Any]
TOKEN = "cw_alice_this-is-a-secret"


def shown(server: FakeServer) -> list[Any]:
    """Return the tokens of the calls that a server received."""
    return [call.metadata.get("authorization") for call in server.calls]


def test_a_token_goes_with_every_call(make_client: MakeClient, server: FakeServer) -> None:
    """Every kind of call carries the bearer token."""
    client = make_client(server.target, token=TOKEN, allow_plaintext_token=True)
    client.classify("text")
    client.classify_batch(["text"])
    list(client.classify_stream(["text"]))
    client.tokenize("text")
    assert shown(server) == [f"Bearer {TOKEN}"] * 4


def test_a_token_may_change(make_client: MakeClient, server: FakeServer) -> None:
    """The client asks a token function for each call, and for each reconnection of a stream."""
    numbers = itertools.count()
    client = make_client(
        server.target, token=lambda: f"token-{next(numbers)}\n", allow_plaintext_token=True
    )
    client.classify("text")
    server.break_stream(Reason.DRAINING, after_results=1)
    assert len(list(client.classify_stream(["one", "two"], window=1))) == 2
    assert shown(server) == ["Bearer token-0", "Bearer token-1", "Bearer token-2"]


def test_a_token_is_not_sent_in_plain_text(make_client: MakeClient, server: FakeServer) -> None:
    """The client sends no token in plain text unless allowed to; the error does not quote it."""
    for target in (server.target, "dns:///classwire.example:1", ["10.0.0.1:1", "10.0.0.2:1"]):
        with pytest.raises(InvalidInputError, match="allow_plaintext_token=True") as raised:
            make_client(target, token=TOKEN)
        assert raised.value.field == "token"
        assert TOKEN not in f"{raised.value} {raised.value!r}"
    make_client("10.0.0.1:1", token=TOKEN, tls=True)
    make_client("10.0.0.1:1", token=TOKEN, credentials=grpc.ssl_channel_credentials())


def test_a_unix_socket_is_private(make_client: MakeClient, tmp_path: Path) -> None:
    """The client sends a token over a Unix socket without TLS."""
    with FakeServer(by_length, address=f"unix:{tmp_path}/socket") as server:
        make_client(server.target, token=TOKEN).classify("text")
        assert shown(server) == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("token", ["two\nlines", "Straße", ""])
def test_an_invalid_token_is_not_quoted(
    make_client: MakeClient, server: FakeServer, token: str
) -> None:
    """An invalid token raises an error that does not quote it."""
    client = make_client(server.target, token=token, allow_plaintext_token=True)
    with pytest.raises(InvalidInputError) as raised:
        client.classify("text")
    assert not token or token not in str(raised.value)


def test_nothing_shows_a_token(make_client: MakeClient, server: FakeServer) -> None:
    """No repr shows the token, neither of the client nor of its settings."""
    client = make_client(server.target, token=TOKEN, allow_plaintext_token=True)
    for thing in (client, Credentials(False, None, TOKEN, True), Security(token=TOKEN)):
        assert TOKEN not in f"{thing!r} {thing}"


def test_incomplete_or_contradictory_tls_settings(make_client: MakeClient, tmp_path: Path) -> None:
    """Incomplete or contradictory TLS settings raise an error: a certificate without a key, a
    missing or invalid file, TLS settings next to gRPC credentials.
    """
    file = tmp_path / "a.pem"
    file.write_text("a certificate")
    for tls, field in ((Tls(cert=file), "tls.key"), (Tls(key=file), "tls.cert")):
        with pytest.raises(InvalidInputError) as raised:
            make_client("host:1", tls=tls)
        assert raised.value.field == field
    for tls, field in ((Tls(ca=file), "tls.ca"), (Tls(cert=file, key=file), "tls.key")):
        with pytest.raises(InvalidInputError, match=r"a\.pem contains no") as raised:
            make_client("host:1", tls=tls)
        assert raised.value.field == field
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidInputError, match=r"broken\.pem contains an invalid certificate"):
        make_client("host:1", tls=Tls(ca=broken))
    with pytest.raises(FileNotFoundError):
        make_client("host:1", tls=Tls(ca=tmp_path / "nowhere.pem"))
    with pytest.raises(InvalidInputError, match="exclude each other"):
        make_client("host:1", tls=True, credentials=grpc.ssl_channel_credentials())
