"""Sends spans to a collector, by OTLP over gRPC."""

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from classwire_server import __version__
from classwire_server.config.tracing import ENVIRONMENT, TracingSettings

from .tracer import Tracing

log = logging.getLogger(__name__)


class Reporting(SpanExporter):
    """Wraps an exporter. Logs when it starts to fail, and when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._works = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Drops those that cannot be sent."""
        result = self._exporter.export(spans)
        works = result is SpanExportResult.SUCCESS
        if works != self._works:
            self._works = works
            if works:
                log.info("traces reach the collector again")
            else:
                log.warning("traces do not reach the collector; dropping them until they do")
        return result

    def shutdown(self) -> None:
        """Stop sending."""
        self._exporter.shutdown()


def tracing_to_collector(settings: TracingSettings) -> Tracing:
    """Return traces that go to the collector of the settings, in batches, on a thread of their own.

    OpenTelemetry's variables control everything else.
    """
    # OpenTelemetry logs each failed attempt; `Reporting` logs the change once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    endpoint = None if settings.traces == ENVIRONMENT else settings.traces
    named = Resource({"service.name": "classwire", "service.version": __version__})
    provider = TracerProvider(
        sampler=ALWAYS_ON,  # Tracing decides which calls have spans
        resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint)
    provider.add_span_processor(BatchSpanProcessor(Reporting(exporter)))
    return Tracing(provider, settings.trace_ratio, exporter.shutdown)
