"""How a channel is set up: where to, how balanced, what is retried, when it is pinged."""

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
            # Unary methods by name: what a stream has not answered, only `StreamState` knows.
            "name": [
                {"service": "classwire.v1.ClassifyService", "method": "Classify"},
                {"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
                {"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
                {"service": "classwire.v1.ModelService"},
            ],
            # Once, at once, for another server. All further ones are `Retry`'s: when time runs out
            # between gRPC's own attempts, it does not say what they failed with.
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
    # A server permits pings this often; they find a dead connection within 40 s, idle or not.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own 1 s to 2 min between attempts to connect is long for a server that restarts.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel_options(extra: ChannelOptions, *, retry: bool = True) -> list[tuple[str, Any]]:
    """All options of a channel; the caller's `extra` win over the client's own.

    Without `retry` gRPC tries nothing again by itself.
    """
    own = {**dict(_OPTIONS), "grpc.enable_retries": int(retry)}
    return list({**own, **dict(extra)}.items())


def target_uri(target: Target) -> str:
    """What gRPC connects to: a string as it is; several addresses as one name of gRPC's.

    Raises InvalidInputError for a URL, and for addresses that are no list of one kind.
    """
    if isinstance(target, str):
        if target.startswith(("http://", "https://", "grpc://")):
            raise InvalidInputError(
                "a target is HOST:PORT, unix:PATH or dns:///NAME:PORT, and no URL",
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
