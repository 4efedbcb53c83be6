"""What a certificate is worth to those whom it is shown, found by a handshake in memory."""

import ssl
import time
from dataclasses import dataclass
from typing import Any

from classwire_server.errors import ConfigError

from .certificates import check_authorities, check_pair


@dataclass(frozen=True)
class Shown:
    """The names that a certificate is for, and until when, as OpenSSL writes it."""

    names: tuple[str, ...]
    until: str


def show(cert: str, key: str) -> Shown:
    """What a caller who trusts the issuer is shown, by the files of a certificate and its key.

    Raises ConfigError where they can't be used, and where that caller would refuse the certificate:
    expired, not valid yet, not a server's.
    """
    check_pair(cert, key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False
    caller.load_verify_locations(cert)
    caller.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted
    try:
        found = _handshake(server, caller)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", error.reason)
        raise ConfigError("tls_cert", f"{cert}: {why}") from None
    names = tuple(name for _, name in found.get("subjectAltName", ()))
    return Shown(names, found["notAfter"])


def authorities(path: str) -> int:
    """How many authorities a file has. Raises ConfigError where none of them can be used."""
    check_authorities(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(path)
    ends_s = [ssl.cert_time_to_seconds(str(each["notAfter"])) for each in context.get_ca_certs()]
    if not ends_s:
        raise ConfigError("tls_client_ca", f"{path}: none of its certificates is an authority's")
    if max(ends_s) < time.time():
        raise ConfigError("tls_client_ca", f"{path}: all have expired")
    return len(ends_s)


def _handshake(server: ssl.SSLContext, caller: ssl.SSLContext) -> dict[str, Any]:
    """The certificate of the server, as the caller sees it. Raises ssl.SSLError."""
    to_server, to_caller = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = caller.wrap_bio(to_caller, to_server)
    ours = server.wrap_bio(to_server, to_caller, server_side=True)
    waiting = [theirs, ours]
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    return theirs.getpeercert() or {}
