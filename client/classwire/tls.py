"""`Tls`: how a client makes sure whom it talks to, and shows who it is."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import grpc

from .contract.reasons import Reason
from .errors import InvalidInput

PemFile: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a server; `Tls()` is what `tls=True` means. Files are PEM, read when a client is made.

    Attributes:
        ca: File of the certificate authorities to trust. Default: those that come with gRPC.
        cert: File of the client's own certificate chain, for servers that ask for one.
        key: File of the private key of `cert`.
        server_name: The name that the server's certificate must hold, where that is not the host of
            the target, as for a list of addresses.
    """

    ca: PemFile | None = None
    cert: PemFile | None = None
    key: PemFile | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC. Raises InvalidInput for a certificate without a key, or the reverse, and for
        files that are no PEM, of which gRPC would say that nobody answers; OSError for files that
        can't be read.
        """
        if (self.cert is None) is not (self.key is None):
            missing = "key" if self.key is None else "cert"
            raise InvalidInput(
                "a certificate and its key go together",
                reason=Reason.BAD_OPTION,
                field=f"tls.{missing}",
            )
        return grpc.ssl_channel_credentials(
            _read("ca", self.ca, b"CERTIFICATE-----"),
            _read("key", self.key, b"PRIVATE KEY-----"),
            _read("cert", self.cert, b"CERTIFICATE-----"),
        )

    @property
    def options(self) -> list[tuple[str, str]]:
        """Options of the channel."""
        if not self.server_name:
            return []
        names = ("grpc.ssl_target_name_override", "grpc.default_authority")
        return [(name, self.server_name) for name in names]


def _read(name: str, file: PemFile | None, kind: bytes) -> bytes | None:
    if file is None:
        return None
    pem = Path(file).read_bytes()
    if kind not in pem:
        what = "private key" if name == "key" else "certificate"
        raise InvalidInput(
            f"{file} holds no {what} in PEM", reason=Reason.BAD_OPTION, field=f"tls.{name}"
        )
    return pem


def explained(message: str, *, is_tls: bool) -> str:
    """What gRPC says of a connection that could not be made, after what a person wants to know."""
    if "last error" not in message:  # it was there, and is gone
        return message
    if not is_tls:
        if "Socket closed" in message or "Connection reset" in message:
            return f"the server closed the connection; does it ask for TLS? ({message})"
        return message
    if "WRONG_VERSION_NUMBER" in message:
        why = "it does not speak TLS"
    elif "Hostname Verification" in message:
        why = "its certificate is for another name"
    elif "certificate has expired" in message:
        why = "its certificate has expired"
    elif "CERTIFICATE_VERIFY_FAILED" in message:
        why = "its certificate is of no authority that is trusted here"
    elif "CERTIFICATE_REQUIRED" in message or "Socket closed" in message:
        why = "it may ask for a certificate that this client does not have"
    else:
        return message
    return f"no TLS with the server: {why} ({message})"
