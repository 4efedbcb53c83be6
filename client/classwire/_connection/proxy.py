"""The HTTP proxy through which gRPC reaches a server, for error messages."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from .channel import ChannelOptions, addresses

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""gRPC takes the first one that is set, even to nothing."""


def proxy_of(target: str, options: ChannelOptions) -> str | None:
    """The proxy and the setting that names it; None for a direct connection.

    Follows gRPC's own rules. The result has host and port of the proxy, and no credentials.
    """
    given = dict(options)
    if not given.get("grpc.enable_http_proxy", 1):
        return None
    settings = {name: os.environ.get(name) for name in _VARIABLES}
    for name, uri in {"grpc.http_proxy": given.get("grpc.http_proxy"), **settings}.items():
        if uri is not None:
            place = _place(uri)
            return f"{place} ({name})" if place and not _is_excepted(target) else None
    return None


def _place(uri: str) -> str:
    """Host and port of a proxy that gRPC can use, else nothing."""
    scheme, netloc, *_ = urlsplit(uri)
    return netloc.rpartition("@")[2] if scheme == "http" else ""


def _is_excepted(target: str) -> bool:
    """Whether a variable exempts the target's host from the proxy."""
    listed = os.environ.get("no_grpc_proxy", os.environ.get("no_proxy", ""))  # noqa: SIM112
    entries = [entry.strip() for entry in listed.split(",") if entry]
    return any(_is_of(host, entry) for host, _ in addresses(target) for entry in entries)


def _is_of(host: str, entry: str) -> bool:
    if host.lower().endswith(entry.lower()):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
