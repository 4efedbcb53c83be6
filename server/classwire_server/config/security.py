"""The settings of TLS and callers."""

import ipaddress
import os
from dataclasses import dataclass

from classwire_server.errors import ConfigError

from .setting import setting


@dataclass(frozen=True)
class SecuritySettings:
    """Who may call the server, and how TLS protects the calls."""

    insecure: bool = setting(
        False,
        "Allow non-loopback addresses without TLS. Others on the network can then read calls.",
    )
    tls_cert: str = setting(
        "", "File of the server's certificate chain (PEM). The server reloads it when it changes."
    )
    tls_key: str = setting("", "File of the certificate's private key (PEM, unencrypted).")
    tls_client_ca: str = setting(
        "",
        "File of certificate authorities (PEM). Clients need a certificate from one of them.",
    )

    callers: str = setting(
        "",
        "File of callers and their rights (TOML). The server reloads it when it changes. "
        "`classwire token new` adds to it. Without it, the server accepts every client that "
        "connects.",
    )
    open_health: bool = setting(True, "Answer health checks without credentials.")
    open_reflection: bool = setting(False, "Serve reflection without credentials.")

    def check_security(self, host: str) -> None:
        """Raise ConfigError if these settings contradict each other or the server's address."""
        if self.tls_cert and not self.tls_key:
            raise ConfigError("tls_key", "is missing; --tls-cert needs it")
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
                f"{host} is not loopback, and without TLS others can read the calls: "
                "give --tls-cert and --tls-key, or --insecure",
            )


def is_loopback(host: str) -> bool:
    """Whether data sent to this address never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
