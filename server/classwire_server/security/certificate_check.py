"""Checks whether clients will accept the server's certificate."""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from classwire_server.config.files import contents
from classwire_server.errors import ConfigError

from .certificates import check_authorities, check_pair


@dataclass(frozen=True)
class CertificateReport:
    """The names in a certificate, and the end of its validity in UTC."""

    names: tuple[str, ...]
    until: datetime


def inspect_certificate(cert: str, key: str) -> CertificateReport:
    """Read the files of a server's certificate and key.

    Raises ConfigError if the server cannot use them, or if clients would reject the certificate
    because it is expired, not yet valid, or not for servers.
    """
    check_pair(cert, key)
    try:
        certificate = x509.load_pem_x509_certificate(contents("tls_cert", cert))
        extensions = {type(each.value): each.value for each in certificate.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ConfigError("tls_cert", f"{cert}: {error}") from None
    if problem := _problem(certificate, extensions):
        raise ConfigError("tls_cert", f"{cert}: certificate {problem}")
    names = tuple(str(name.value) for name in extensions.get(x509.SubjectAlternativeName, ()))
    return CertificateReport(names, certificate.not_valid_after_utc)


def count_authorities(path: str) -> int:
    """Return the number of authorities in a file. Raises ConfigError if none can be used."""
    check_authorities(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(path)
    ends_s = [ssl.cert_time_to_seconds(str(each["notAfter"])) for each in context.get_ca_certs()]
    if not ends_s:
        raise ConfigError("tls_client_ca", f"{path}: none of its certificates is an authority's")
    if max(ends_s) < time.time():
        raise ConfigError("tls_client_ca", f"{path}: all have expired")
    return len(ends_s)


def _problem(certificate: x509.Certificate, extensions: Mapping[type, Any]) -> str:
    """Return why clients reject a server with this certificate; empty if they accept it."""
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return "has expired"
    if now < certificate.not_valid_before_utc:
        return "is not yet valid"
    usage = extensions.get(x509.KeyUsage)
    if usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        return "is not for servers"
    is_for_servers = ExtendedKeyUsageOID.SERVER_AUTH in extensions.get(
        x509.ExtendedKeyUsage, (ExtendedKeyUsageOID.SERVER_AUTH,)
    )
    return "" if is_for_servers else "is not for servers"
