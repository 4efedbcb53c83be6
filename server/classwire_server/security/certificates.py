"""The files of the server's certificate, its key and its clients' authorities."""

import codecs
import ssl
import time
from typing import Any, NamedTuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from classwire_server.config.files import contents
from classwire_server.config.security import SecuritySettings
from classwire_server.errors import ConfigError

from .reloading import ReloadingFiles

PAUSE_S = 0.02
"""Longer than gRPC takes from asking for a configuration to using it, which is microseconds."""


class _Files(NamedTuple):
    cert: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The TLS files of the server, checked for changes at every new connection.

    Raises ConfigError if the files cannot be used at the start. Safe for use by any thread.
    """

    def __init__(self, settings: SecuritySettings) -> None:
        self._settings = settings
        paths = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._files = ReloadingFiles([path for path in paths if path], self._read)

    def credentials(self) -> Any:
        """Return credentials for `grpc.Server.add_secure_port`: TLS 1.2 and 1.3 only."""
        in_use = self._files.current()

        def changed() -> Any:
            """Return the new configuration, or None if nothing changed."""
            nonlocal in_use
            files = self._files.current()
            if files == in_use:
                return None
            in_use = files
            # gRPC frees the old configuration even if another handshake is about to use it, and
            # then the process crashes (grpc/grpc#36693). No handshake begins during this pause.
            time.sleep(PAUSE_S)
            return _configuration(files)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(in_use),
            changed,
            require_client_authentication=bool(self._settings.tls_client_ca),
        )

    def _read(self) -> _Files:
        files = self._contents()
        self._check()
        if files != self._contents():
            raise ConfigError("tls_cert", "the files are being replaced")
        return files

    def _contents(self) -> _Files:
        settings = self._settings
        client_ca = settings.tls_client_ca
        return _Files(
            contents("tls_cert", settings.tls_cert),
            contents("tls_key", settings.tls_key),
            contents("tls_client_ca", client_ca) if client_ca else None,
        )

    def _check(self) -> None:
        """Raise ConfigError for files that gRPC cannot use: gRPC itself reports nothing."""
        settings = self._settings
        check_pair(settings.tls_cert, settings.tls_key)
        if settings.tls_client_ca:
            check_authorities(settings.tls_client_ca)


def check_pair(cert: str, key: str) -> None:
    """Raise ConfigError if the certificate and key cannot be loaded or do not match."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError("tls_cert", f"{cert} and {key}: {_why(error)}") from None
    if problem := _unknown_to_grpc(contents("tls_cert", cert)):
        raise ConfigError("tls_cert", f"{cert}: gRPC can't use {problem}")


def _unknown_to_grpc(pem: bytes) -> str:
    """Return what OpenSSL takes in a certificate and gRPC's BoringSSL does not, or nothing."""
    if pem.startswith(codecs.BOM_UTF8):
        return "a file that begins with a byte order mark"
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ""  # left to gRPC
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return ""
    if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
        return f"a key of the curve {key.curve.name}"
    if usage is not None and not usage.digital_signature:
        return "an EC key whose usage has no digital signature: it is not for servers"
    return ""


def check_authorities(path: str) -> None:
    """Raise ConfigError if the file has no certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError as error:
        raise ConfigError("tls_client_ca", f"{path}: {_why(error)}") from None


def _configuration(files: _Files) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.cert)], root_certificates=files.client_ca
    )


def _no_password() -> str:
    raise ValueError("the key is encrypted; the server needs an unencrypted key")


def _why(error: Exception) -> str:
    """Return an error of OpenSSL in words, without the position in its source."""
    if not isinstance(error, ssl.SSLError):
        return str(error)
    # The second is OpenSSL's reason for a key of another algorithm.
    if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return "the key is not the certificate's"
    return (error.reason or "not PEM").lower().replace("_", " ")
