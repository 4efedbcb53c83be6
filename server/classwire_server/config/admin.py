"""The settings of the admin service."""

from dataclasses import dataclass

from classwire_server.errors import ConfigError

from .security import SecuritySettings, is_loopback
from .setting import setting


@dataclass(frozen=True)
class AdminSettings(SecuritySettings):
    """Where the admin service listens, and how much memory all models may use together."""

    admin_port: int = setting(
        -1,
        "Port of the admin service, which loads, replaces and unloads models and drains the "
        "server. 0: any free port, which the server prints at start. -1: no admin service.",
    )
    admin_host: str = setting(
        "127.0.0.1",
        "Address of the admin service. A non-loopback address needs --insecure, or both TLS and "
        "--callers. With --callers, only callers with admin = true may use it.",
    )
    memory_budget_mb: int = setting(
        0,
        "Maximum memory of all models together, in MB. The server rejects models that exceed it. "
        "0: no limit.",
    )

    def check_admin(self) -> None:
        """Raise ConfigError if anyone but operators could reach the admin service."""
        if self.admin_port < 0:
            return
        if not self.admin_host:
            raise ConfigError("admin_host", "is empty")
        if is_loopback(self.admin_host) or self.insecure:
            return
        if not (self.tls_cert and self.callers):
            raise ConfigError(
                "admin_host",
                f"{self.admin_host} is not loopback, so anyone who reaches it could change the "
                "models: give --tls-cert, --tls-key and --callers, or --insecure",
            )
