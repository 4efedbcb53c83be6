"""The settings of metrics."""

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class MetricsSettings:
    """Where metrics are served."""

    metrics_port: int = setting(
        -1, "Port to serve metrics on, at /metrics. 0: any free port, printed at start. -1: none."
    )
    metrics_host: str = setting(
        "127.0.0.1", "Address to serve metrics on, in plain HTTP to whoever reaches it."
    )
