"""Why a call found no server: one plain sentence, from gRPC's message and the client's settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from classwire.errors import ClasswireError, UnavailableError, UnimplementedError

from .channel import is_loopback
from .credentials import Credentials

# gRPC's messages, from grpcio 1.76 on.
_HTTP_STATUS = re.compile(r"Received http2 header with status: (\d+)")
_PROXY_STATUS = re.compile(r"HTTP proxy returned response code (\d+)")
_NAME = re.compile(r"(?:DNS resolution failed for|errors resolving) (\S+): .*?(?:: ([^:\]]+))?\]?$")
_CONNECT = re.compile(
    r"(?:remote host: (?:connect: )?|: connect: | error: )([^:()]+?)(?: \(\d+\))?$"
)
_ADDRESS = re.compile(r"last error: \w+: (?:ipv[46]:)?(\S+): ")
_NO_GRPC = re.compile(r"Failed parsing HTTP/2|http1\.x server")
_CUT = re.compile(r"Socket closed|Connection reset")


@dataclass(frozen=True)
class Route:
    """How a client reaches its server."""

    target: str
    credentials: Credentials
    proxy: str | None = None


def explained(error: ClasswireError, route: Route) -> ClasswireError:
    """The same error, without a reason, with its cause in place of gRPC's message if it is known.

    `field` is then the client's setting to look at.
    """
    message, field = error.message, None
    if status := _HTTP_STATUS.search(message):
        message = (
            f"{route.target} answered with HTTP status {status[1]}: it is not a gRPC server, "
            "or it is a proxy that reaches none"
        )
    elif isinstance(error, UnimplementedError):
        message = (
            f"{route.target} does not have this method: it is another port of a Classwire server, "
            f"an older one, or another gRPC server ({message})"
        )
    elif isinstance(error, UnavailableError):
        message, field = _cause(message, route)
        if route.proxy and message != error.message:
            message = f"through the proxy {route.proxy}: {message}"
    return type(error)(message, code=error.code, field=field, request_id=error.request_id)


def _cause(message: str, route: Route) -> tuple[str, str | None]:
    """The cause of a failed connection, and the setting. A lost connection's message stays."""
    target = route.target
    if found := _NAME.search(message):
        why = "no reply from DNS" if "cancelled" in message else (found[2] or "no address").lower()
        return f"no address for the host of {found[1]} ({why})", None if route.proxy else "target"
    if "last error" not in message:
        return message, None
    if found := _PROXY_STATUS.search(message):
        return f"the proxy does not connect to {target}: HTTP status {found[1]}", None
    if found := _CONNECT.search(message):
        why, place = found[1].lower(), _last_address(message)
        if place not in target:  # of several addresses, gRPC tells about the last one
            why += f" at {place}"
        elif why == "connection refused" and is_loopback(target):
            return f"no server answers at {target}; start one with `classwire serve`", None
        return f"no server answers at {target} ({why})", None
    if "timed out" in message:
        return f"no server answers at {target} (the connection timed out)", None
    if _NO_GRPC.search(message):
        return (
            f"{target} does not speak gRPC; is it the metrics port, or another program's?",
            "target",
        )
    if route.credentials.channel is not None:
        return _tls_cause(message, route)
    if _CUT.search(message):
        return f"{target} closed the connection; does it ask for TLS?", "tls"
    return message, None


def _last_address(message: str) -> str:
    found = _ADDRESS.search(message)
    return unquote(found[1]) if found else ""


def _tls_cause(message: str, route: Route) -> tuple[str, str | None]:
    why: str
    field: str | None
    if "WRONG_VERSION_NUMBER" in message:
        why, field = "it does not speak TLS", "tls"
    elif "Hostname Verification" in message:
        why, field = "its certificate is for another name", "tls.server_name"
    elif "certificate has expired" in message:
        why, field = "its certificate has expired", None
    elif "CERTIFICATE_VERIFY_FAILED" in message:
        why, field = "its certificate is of no authority that is trusted here", "tls.ca"
    elif "CERTIFICATE_REQUIRED" in message or _CUT.search(message):
        why, field = "it may ask for a certificate that this client does not have", "tls.cert"
        if route.credentials.has_certificate:
            why = "it may not accept this client's certificate: expired, or of another authority"
    else:
        return message, None
    return f"no TLS with {route.target}: {why}", field
