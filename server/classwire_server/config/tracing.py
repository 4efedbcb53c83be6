"""The settings of traces."""

import re
from dataclasses import dataclass
from importlib.util import find_spec

from classwire_server.errors import ConfigError

from .setting import setting

ENVIRONMENT = "env"
"""Value of --traces that takes the address from OpenTelemetry's own variables."""
_ADDRESS = re.compile(r"https?://[^/\s]+/?")
_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc"


@dataclass(frozen=True)
class TracingSettings:
    """Where the server sends traces, and which calls it traces."""

    traces: str = setting(
        "",
        "Address of the OTLP collector for traces (gRPC): http://HOST:PORT, or https for TLS. env: "
        "take it from OTEL_EXPORTER_OTLP_ENDPOINT. Empty: no traces. Needs "
        "classwire-server[tracing].",
    )
    trace_ratio: float = setting(
        0.01,
        "Share of calls to trace, from 0 to 1. If a call has traceparent metadata, its sampled "
        "flag decides instead.",
    )

    def check_tracing(self) -> None:
        """Raise ConfigError if the server cannot send the traces."""
        if not self.traces:
            return
        if self.traces != ENVIRONMENT and not _ADDRESS.fullmatch(self.traces):
            raise ConfigError("traces", f"{self.traces!r} is neither http://HOST:PORT nor env")
        if not _is_installed():
            raise ConfigError(
                "traces", "needs OpenTelemetry: pip install 'classwire-server[tracing]'"
            )


def _is_installed() -> bool:
    try:
        return find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:  # its parent packages are missing too
        return False
