"""The settings of a channel: target, load balancing, retries, keepalive."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from .contract.reasons import Reason
from .errors import InvalidInputError

Target: TypeAlias = str | Sequence[str]
ChannelOptions: TypeAlias = Sequence[tuple[str, Any]]

MAX_RECEIVE_BYTES = 64 << 20

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
    # A server permits pings this often. They detect a dead connection within 40 s, idle or not.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's default backoff, 1 s to 2 min, is long for a server that restarts.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel_options(extra: ChannelOptions, *, retry: bool = True) -> list[tuple[str, Any]]:
    """All options of a channel. The caller's `extra` override the client's own.

    Without `retry`, gRPC's retries are off too.
    """
    own = {**dict(_OPTIONS), "grpc.enable_retries": int(retry)}
    return list({**own, **dict(extra)}.items())


def target_uri(target: Target) -> str:
    """The target URI for gRPC, from a string or several addresses.

    Raises InvalidInputError for a URL, and for addresses that are not all of one IP version.
    """
    if isinstance(target, str):
        if target.startswith(("http://", "https://", "grpc://")):
            raise InvalidInputError(
                "a target is HOST:PORT, unix:PATH or dns:///NAME:PORT, not a URL",
                reason=Reason.BAD_OPTION,
                field="target",
            )
        return target
    addresses = list(target)
    if len(addresses) == 1:
        return addresses[0]
    versions = {_ip_version(address) for address in addresses}
    if len(versions) != 1 or None in versions:
        raise InvalidInputError(
            "several targets must all be IPv4:port, or all [IPv6]:port; for a host name, "
            "dns:///name:port balances over all of its addresses",
            reason=Reason.BAD_OPTION,
            field="target",
        )
    return f"ipv{versions.pop()}:{','.join(addresses)}"


def _ip_version(address: str) -> int | None:
    host, _, port = address.rpartition(":")
    try:
        return ipaddress.ip_address(host.strip("[]")).version if port.isdecimal() else None
    except ValueError:
        return None
