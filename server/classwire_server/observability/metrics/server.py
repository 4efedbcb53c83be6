"""All metrics of one server, and their port."""

from prometheus_client import CollectorRegistry, ProcessCollector

from classwire_server.config.endpoints import target_of
from classwire_server.config.server_config import ServerConfig
from classwire_server.gate import Gate
from classwire_server.observability.shadow.shadows import Shadows
from classwire_server.registry.registry import Registry
from classwire_server.rpc.call_pool import CallPool
from classwire_server.service.streaming.streams import Streams

from .calls import CallCounts
from .exposition import Exposition
from .models import ModelMetrics
from .predictions import PredictionMetrics, ShadowMetrics
from .transport import TransportMetrics
from .workers import WorkerMetrics


class Metrics:
    """Serves all metrics from `listen` until `close`.

    `calls` counts calls as they end. All other values are read at each scrape.
    """

    def __init__(
        self,
        config: ServerConfig,
        registry: Registry,
        gate: Gate,
        pool: CallPool,
        streams: Streams,
        shadows: Shadows,
    ) -> None:
        self.calls = CallCounts()
        self.target = ""
        self._config = config
        self._exposition: Exposition | None = None
        self._collectors = CollectorRegistry(auto_describe=False)
        for collector in (
            self.calls,
            TransportMetrics(config, gate, pool, streams),
            ModelMetrics(registry, config),
            PredictionMetrics(registry),
            ShadowMetrics(shadows),
            WorkerMetrics(registry),
        ):
            self._collectors.register(collector)
        ProcessCollector(registry=self._collectors)

    def listen(self) -> None:
        """Bind the port. Raises StartError if that fails."""
        host = self._config.metrics_host
        self._exposition = Exposition(self._collectors, host, self._config.metrics_port)
        self.target = target_of(host, self._exposition.port)

    def close(self) -> None:
        """Stop serving."""
        if self._exposition is not None:
            self._exposition.close()
