"""The settings of who may call."""

import ipaddress
import os
from dataclasses import dataclass

from classwire_server.errors import ConfigError

from .setting import setting


@dataclass(frozen=True)
class SecuritySettings:
    """Who may call, and how what they send is kept from others."""

    insecure: bool = setting(
        False, "Serve without TLS on an address that is not loopback, where others may read along."
    )
    tls_cert: str = setting(
        "", "File of the server's certificate chain (PEM); read again when it changes."
    )
    tls_key: str = setting("", "File of the certificate's private key (PEM, not encrypted).")
    tls_client_ca: str = setting(
        "",
        "File of certificate authorities (PEM); whoever calls must have a certificate of theirs.",
    )

    callers: str = setting(
        "",
        "File of who may call (TOML), read again when it changes; `classwire token new` writes it. "
        "None: whoever reaches the server, and has a certificate where one is asked for.",
    )
    open_health: bool = setting(True, "Answer health checks of whoever asks.")
    open_reflection: bool = setting(False, "Serve reflection to whoever asks.")

    def check_security(self, host: str) -> None:
        """Raise ConfigError where these contradict each other, or the address listened on."""
        if self.tls_cert and not self.tls_key:
            raise ConfigError("tls_key", "is missing, and --tls-cert needs it")
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) and not self.tls_cert:
                raise ConfigError(name, "needs --tls-cert")
        for name in ("tls_cert", "tls_key", "tls_client_ca", "callers"):
            path = getattr(self, name)
            if path and not os.path.isfile(path):
                raise ConfigError(name, f"{path}: no such file")
        if host and not self.tls_cert and not self.insecure and not is_loopback(host):
            raise ConfigError(
                "host",
                f"{host} is not loopback, and without TLS others may read along: "
                "give --tls-cert and --tls-key, or --insecure",
            )


def is_loopback(host: str) -> bool:
    """Whether what is sent to this address never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
