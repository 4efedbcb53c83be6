"""`Tls`: how a client checks the server's identity, and proves its own."""

from __future__ import annotations

from ._connection import grpc_log  # noqa: F401

# isort: split

import ssl
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import grpc

from .contract.reasons import Reason
from .errors import InvalidInputError

PemFile: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS settings of a client; `tls=True` means `Tls()`. The client reads the PEM files once.

    Attributes:
        ca: File of the certificate authorities to trust. Default: those that come with gRPC.
        cert: File of the client's own certificate chain, for servers that require one.
        key: File of the private key of `cert`.
        server_name: The name that the server's certificate must contain. Default: the host of the
            target. A list of addresses needs it.
    """

    ca: PemFile | None = None
    cert: PemFile | None = None
    key: PemFile | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """The credentials for gRPC.

        Raises InvalidInputError for a certificate and a key that do not belong together, and for a
        file that is not valid PEM; OSError for a file that cannot be read.
        """
        if (self.cert is None) is not (self.key is None):
            missing = "key" if self.key is None else "cert"
            raise _wrong(missing, "a certificate and its key go together")
        ca, key, cert = (
            _read("ca", self.ca, b"CERTIFICATE-----"),
            _read("key", self.key, b"PRIVATE KEY-----"),
            _read("cert", self.cert, b"CERTIFICATE-----"),
        )
        self._check()
        return grpc.ssl_channel_credentials(ca, key, cert)

    def _check(self) -> None:
        """Raise InvalidInputError for files that gRPC would reject at each connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("ALL:@SECLEVEL=0")  # gRPC decides what is too weak
        if self.ca is not None:
            try:
                context.load_verify_locations(self.ca)
            except ssl.SSLError:
                raise _wrong("ca", f"{self.ca} contains an invalid certificate") from None
        if self.cert is None or self.key is None:
            return

        def password() -> str:
            raise _wrong("key", f"the key in {self.key} is encrypted")

        try:
            context.load_cert_chain(self.cert, self.key, password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise _wrong("key", f"{self.key} is not the key of {self.cert}") from None
            raise _wrong("cert", f"{self.cert} or {self.key} is invalid") from None

    @property
    def options(self) -> list[tuple[str, str]]:
        """Options of the channel."""
        if self.server_name is None:
            return []
        names = ("grpc.ssl_target_name_override", "grpc.default_authority")
        return [(name, self.server_name) for name in names]


def _read(name: str, file: PemFile | None, kind: bytes) -> bytes | None:
    if file is None:
        return None
    pem = Path(file).read_bytes()
    if kind not in pem:
        what = "private key" if name == "key" else "certificate"
        raise _wrong(name, f"{file} contains no {what} in PEM")
    return pem


def _wrong(name: str, message: str) -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_OPTION, field=f"tls.{name}")
