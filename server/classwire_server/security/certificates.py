"""The server's certificate, its key and the authorities of its callers, as files hold them."""

import logging
import os
import ssl
import threading
from typing import Any, NamedTuple

import grpc

from ..errors import ConfigError
from .settings import SecuritySettings

log = logging.getLogger(__name__)


class _Files(NamedTuple):
    cert: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """What the server shows and asks for in TLS; the files are looked at with every new connection.

    A pair that does not fit together, as while one file of it is being replaced, is not taken: what
    was there before stays. Raises ConfigError when there is nothing to begin with. Safe for use by
    any thread.
    """

    def __init__(self, settings: SecuritySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()  # guards all below
        self._known_stamps = self._stamps()
        self._in_use = self._read()
        self._complaint = ""

    def credentials(self) -> Any:
        """For `grpc.Server.add_secure_port`. gRPC offers TLS 1.2 and 1.3, and nothing older."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._in_use),
            self._changed,
            require_client_authentication=bool(self._settings.tls_client_ca),
        )

    def _changed(self) -> Any:
        """What to use from now on, None for what was used before; called by gRPC."""
        with self._lock:
            stamps = self._stamps()
            if stamps == self._known_stamps:
                return None
            try:
                files = self._read()
            except ConfigError as error:
                if str(error) != self._complaint:
                    log.warning("%s; what was there before stays in use", error)
                self._complaint = str(error)
                return None
            self._known_stamps, self._in_use, self._complaint = stamps, files, ""
            log.info("the certificate has been read again: %s", self._settings.tls_cert)
            return _configuration(files)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        """What changes whenever a file does."""
        settings = self._settings
        return [
            _stamp(path) for path in (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        ]

    def _read(self) -> _Files:
        """Raises ConfigError for files that can't be used."""
        files = self._contents()
        self._check()
        if files != self._contents():
            raise ConfigError("tls_cert", "the files are being replaced")
        return files

    def _contents(self) -> _Files:
        settings = self._settings
        client_ca = settings.tls_client_ca
        return _Files(
            _bytes("tls_cert", settings.tls_cert),
            _bytes("tls_key", settings.tls_key),
            _bytes("tls_client_ca", client_ca) if client_ca else None,
        )

    def _check(self) -> None:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "tls_cert", f"{settings.tls_cert} and {settings.tls_key}: {_why(error)}"
            ) from None
        try:
            if settings.tls_client_ca:
                context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:
            raise ConfigError("tls_client_ca", f"{settings.tls_client_ca}: {_why(error)}") from None


def _configuration(files: _Files) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.cert)], root_certificates=files.client_ca
    )


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _bytes(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to type its password")


def _why(error: Exception) -> str:
    """An error of OpenSSL's in words, without where in its code it was found."""
    if not isinstance(error, ssl.SSLError):
        return str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return (error.reason or "no certificate and key in PEM").lower().replace("_", " ")
