"""The settings of traces."""

import re
from dataclasses import dataclass
from importlib.util import find_spec

from classwire_server.errors import ConfigError

from .setting import setting

ENVIRONMENT = "env"
"""In place of an address: what OpenTelemetry's own variables say."""
_ADDRESS = re.compile(r"https?://[^/\s]+/?")
_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc"


@dataclass(frozen=True)
class TracingSettings:
    """Where traces are sent, and of which calls."""

    traces: str = setting(
        "",
        "Send traces, by OTLP over gRPC, to http://HOST:PORT (https: with TLS), or to where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says: env. Needs classwire-server[tracing].",
    )
    trace_ratio: float = setting(
        0.01,
        "Share of calls to trace; whether one with a traceparent is traced, its caller has said.",
    )

    def check_tracing(self) -> None:
        """Raise ConfigError where traces are asked for that cannot be sent."""
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
    except ModuleNotFoundError:  # the packages around it are not there either
        return False
