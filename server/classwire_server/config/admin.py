"""The settings of the admin service, and of what it may do."""

from dataclasses import dataclass

from classwire_server.errors import ConfigError

from .security import SecuritySettings, is_loopback
from .setting import setting


@dataclass(frozen=True)
class AdminSettings(SecuritySettings):
    """Where the admin service listens, and how much memory models may need together."""

    admin_port: int = setting(
        -1,
        "Port of the admin service, which loads, replaces and unloads models, and ends the server. "
        "0: any free port, printed at start. -1: none.",
    )
    admin_host: str = setting(
        "127.0.0.1",
        "Address of the admin service, with the server's TLS and callers, those with admin = true. "
        "Beyond loopback it needs both, or --insecure.",
    )
    memory_budget_mb: int = setting(
        0,
        "Memory that the processes of all models may need together, in MB; a model for which there "
        "is no room is refused. 0: any.",
    )

    def check_admin(self) -> None:
        """Raise ConfigError where others than operators could reach the admin service."""
        if self.admin_port < 0:
            return
        if not self.admin_host:
            raise ConfigError("admin_host", "is empty")
        if is_loopback(self.admin_host) or self.insecure:
            return
        if not (self.tls_cert and self.callers):
            raise ConfigError(
                "admin_host",
                f"{self.admin_host} is not loopback, and whoever reaches it could change the "
                "models: give --tls-cert, --tls-key and --callers, or --insecure",
            )
