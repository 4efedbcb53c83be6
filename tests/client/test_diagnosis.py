"""The sentences for connections that fail. The other tests of connections see more of them."""

import socket
from collections.abc import Callable
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any

import pytest

from classwire import InternalError, UnavailableError, UnimplementedError
from classwire._connection.channel import channel_options
from classwire._connection.credentials import Credentials
from classwire._connection.diagnosis import Route, explained
from classwire.errors import ClasswireError

MakeClient = Callable[..., Any]
ROUTE = Route("host:1", Credentials(False, None, None, False))
LAST = "failed to connect to all addresses; last error:"


def test_a_host_without_an_address(make_client: MakeClient) -> None:
    """The error names the host, and the setting to look at."""
    host = f"{'x' * 64}.invalid:1"  # too long for DNS, so that no server is asked
    with pytest.raises(UnavailableError) as raised:
        make_client(host, retry=False).classify("text")
    assert raised.value.message.startswith(f"no address for the host of {host} (")
    assert raised.value.field == "target"


def test_a_socket_that_is_not_there(make_client: MakeClient, tmp_path: Path) -> None:
    """The error names the socket and what the system says of it."""
    target = f"unix:{tmp_path}/server.sock"
    with pytest.raises(UnavailableError) as raised:
        make_client(target, retry=False).classify("text")
    assert raised.value.message == f"no server answers at {target} (no such file or directory)"


def test_nothing_replies(make_client: MakeClient) -> None:
    """An attempt to connect, and a look-up in DNS, end long before the call's deadline."""
    soon = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.dns_ares_query_timeout", 100)]
    own = dict(channel_options(()))
    assert all(own[name] == 5_000 for name, _ in soon)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket(type=SOCK_DGRAM) as dns:
        dns.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="the connection timed out"):
            make_client(target, options=soon, retry=False).classify("text")
        target = f"dns://127.0.0.1:{dns.getsockname()[1]}/host.example:1"
        with pytest.raises(UnavailableError, match="no reply from DNS"):
            make_client(target, options=soon, retry=False).classify("text")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "DNS resolution failed for host:1: C-ares status is not ARES_SUCCESS qtype=A "
            "name=host is_balancer=0: Domain name not found",
            "no address for the host of host:1 (domain name not found)",
        ),
        (
            "errors resolving host:1: [field:hostname lookup error:address lookup failed for "
            "host:1: Domain name not found]",
            "no address for the host of host:1 (domain name not found)",
        ),
        (
            "errors resolving host:1: [field:hostname lookup error:address lookup failed for "
            "host:1: DNS query cancelled]",
            "no address for the host of host:1 (no reply from DNS)",
        ),
        (
            f"{LAST} UNKNOWN: ipv4:10.0.0.1:1: Failed to connect to remote host: connect: "
            "No route to host (113)",
            "no server answers at host:1 (no route to host at 10.0.0.1:1)",
        ),
        (
            f"{LAST} UNKNOWN: ipv6:%5B::1%5D:1: Failed to connect to remote host: "
            "Connection refused",
            "no server answers at host:1 (connection refused at [::1]:1)",
        ),
        (
            f"{LAST} UNKNOWN: ipv4:10.0.0.1:1: connect: Network is unreachable (101)",
            "no server answers at host:1 (network is unreachable at 10.0.0.1:1)",
        ),
        (
            f"{LAST} UNKNOWN: ipv4:10.0.0.1:1: connection attempt timed out before receiving "
            "SETTINGS frame",
            "no server answers at host:1 (the connection timed out)",
        ),
        ("Socket closed", "Socket closed"),
        (f"{LAST} UNKNOWN: ipv4:10.0.0.1:1: new words", None),
    ],
)
def test_the_messages_of_grpc(message: str, said: str | None) -> None:
    """Messages of grpcio 1.76 to 1.85 become one sentence. Others, and the message of a connection
    that was lost, stay as they are.
    """
    assert explained(UnavailableError(message), ROUTE).message == (said or message)


@pytest.mark.parametrize("kind", [UnavailableError, UnimplementedError, InternalError])
def test_a_web_server(kind: type[ClasswireError]) -> None:
    """An HTTP status without a gRPC status keeps its class, and the sentence has the status."""
    error = explained(kind("Received http2 header with status: 502"), ROUTE)
    assert type(error) is kind
    assert error.message.startswith("host:1 answered with HTTP status 502: it is not a gRPC server")
