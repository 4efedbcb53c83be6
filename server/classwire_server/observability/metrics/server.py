"""All metrics of one server, and the port that they are served on."""

from prometheus_client import CollectorRegistry, ProcessCollector

from classwire_server.config.endpoints import target_of
from classwire_server.config.server_config import ServerConfig
from classwire_server.gate import Gate
from classwire_server.registry.registry import Registry
from classwire_server.rpc.call_pool import CallPool
from classwire_server.service.streaming.streams import Streams

from .calls import CallCounts
from .exposition import Exposition
from .models import ModelMetrics
from .transport import TransportMetrics
from .workers import WorkerMetrics


class Metrics:
    """Counts calls by `calls`, reads all else when it is asked for, and serves it from `listen`
    until `close`.
    """

    def __init__(
        self, config: ServerConfig, registry: Registry, gate: Gate, pool: CallPool, streams: Streams
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
            WorkerMetrics(registry),
        ):
            self._collectors.register(collector)
        ProcessCollector(registry=self._collectors)

    def listen(self) -> None:
        """Bind the port. Raises StartError when the address cannot be had."""
        host = self._config.metrics_host
        self._exposition = Exposition(self._collectors, host, self._config.metrics_port)
        self.target = target_of(host, self._exposition.port)

    def close(self) -> None:
        """Serve nothing any more."""
        if self._exposition is not None:
            self._exposition.close()
