"""The settings of metrics."""

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class MetricsSettings:
    """Where the server serves metrics."""

    metrics_port: int = setting(
        -1,
        "Port of the Prometheus metrics, at /metrics. 0: any free port, which the server prints at "
        "start. -1: no metrics.",
    )
    metrics_host: str = setting(
        "127.0.0.1",
        "Address of the metrics. They are plain HTTP, without authentication.",
    )
