"""The settings of a channel: target, load balancing, retries, keepalive."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from classwire._version import __version__
from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError

Target: TypeAlias = str | Sequence[str]
ChannelOptions: TypeAlias = Sequence[tuple[str, Any]]

MAX_RECEIVE_BYTES = 64 << 20


class Address(NamedTuple):
    """A host and a port in a target."""

    host: str
    port: str


_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            # Unary methods by name. Only `StreamState` knows which items a stream must send again.
            "name": [
                {"service": "classwire.v1.ClassifyService", "method": "Classify"},
                {"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
                {"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
                {"service": "classwire.v1.ClassifyService", "method": "Rank"},
                {"service": "classwire.v1.ClassifyService", "method": "ZeroShotClassify"},
                {"service": "classwire.v1.ModelService"},
            ],
            # gRPC retries once, at once, on another server. `Retry` makes all further attempts:
            # when the deadline ends gRPC's own attempts, it hides the error that they had.
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.05s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

_OPTIONS: ChannelOptions = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # Begins the header user-agent. A proxy that retries leaves this client's calls to `Retry`.
    ("grpc.primary_user_agent", f"classwire-python/{__version__}"),
    # A server permits pings this often. They detect a dead connection within 40 s, idle or not.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # How long an attempt to connect, and a look-up in DNS, may take. gRPC's own limits are 20 s and
    # 120 s, in silence.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.dns_ares_query_timeout", 5_000),
    # gRPC's default backoff, 1 s to 2 min, is long for a server that restarts.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


_SOCKETS = ("unix", "unix-abstract", "vsock")
_SCHEMES = ("dns", "ipv4", "ipv6", "xds", *_SOCKETS)
_DNS_SERVER = re.compile(r"//[^/]*/")


def channel_options(
    extra: ChannelOptions, *, target: str = "", retry: bool = True
) -> list[tuple[str, Any]]:
    """All options of a channel. The caller's `extra` override the client's own.

    Without `retry`, gRPC's retries are off too.
    """
    own = {**dict(_OPTIONS), "grpc.enable_retries": int(retry)}
    if goes_direct(target):
        own["grpc.enable_http_proxy"] = 0
    return list({**own, **dict(extra)}.items())


def target_uri(target: Target) -> str:
    """The target URI for gRPC, from a string or several addresses.

    Raises InvalidInputError for a URL, for a host without a port, and for several addresses that
    are not all of one IP version.
    """
    if isinstance(target, str):
        if "://" in target and target.partition(":")[0] not in _SCHEMES:
            raise _wrong("a target is HOST:PORT, unix:PATH or dns:///NAME:PORT, not a URL")
        for address in addresses(target):
            _check_port(target, address)
        return target
    several = list(target)
    if len(several) == 1:
        return target_uri(several[0])
    versions = {_ip_version(address) for address in several}
    if len(versions) != 1 or None in versions:
        raise _wrong(
            "several targets must all be IPv4:port, or all [IPv6]:port; for a host name, "
            "dns:///name:port balances over all of its addresses"
        )
    return f"ipv{versions.pop()}:{','.join(several)}"


def addresses(target: str) -> list[Address]:
    """The hosts and ports in a target. A socket has none."""
    scheme, _, rest = target.partition(":")
    if scheme in ("ipv4", "ipv6"):
        return [_address(each) for each in rest.split(",")]
    if scheme == "dns":
        return [_address(_DNS_SERVER.sub("", rest, count=1))]
    return [] if scheme in _SCHEMES else [_address(target)]


def is_loopback(target: str) -> bool:
    """Whether a target has addresses, all of them of this machine."""
    found = addresses(target)
    return bool(found) and all(_is_loopback(host) for host, _ in found)


def goes_direct(target: str) -> bool:
    """Whether no proxy can serve a target: one on this machine, or several addresses.

    A proxy connects to its own machine's loopback, and to one address for all calls.
    """
    is_socket = target.partition(":")[0] in _SOCKETS
    return is_socket or len(addresses(target)) > 1 or is_loopback(target)


def _is_loopback(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return ip.is_loopback or ip.is_unspecified


def _address(address: str) -> Address:
    """Host and port, each empty if it is not there. An IPv6 host with a port has brackets."""
    host, separator, port = address.rpartition(":")
    if separator and (":" not in host or host.endswith("]")):
        return Address(host.strip("[]"), port)
    return Address(address.strip("[]"), "")


def _check_port(target: str, address: Address) -> None:
    if not address.port:
        host = f"[{address.host}]" if ":" in address.host else address.host
        raise _wrong(f"the target {target!r} has no port; a server's default is {host}:50051")
    if not address.port.isdecimal() or not 0 < int(address.port) < 1 << 16:
        raise _wrong(f"the port of the target {target!r} must be a number from 1 to 65535")


def _ip_version(address: str) -> int | None:
    host, port = _address(address)
    try:
        return ipaddress.ip_address(host).version if port.isdecimal() else None
    except ValueError:
        return None


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_OPTION, field="target")
