"""Metrics of RPC threads, streams and the server, read at each scrape."""

import platform
from collections.abc import Iterator

import grpc

from classwire_server import __version__
from classwire_server.config.server_config import ServerConfig
from classwire_server.gate import Gate
from classwire_server.rpc.call_pool import CallPool
from classwire_server.service.streaming.streams import Streams

from . import definitions
from .families import Family, family, single


class TransportMetrics:
    """Collects the metrics of RPC threads, streams and the server itself."""

    def __init__(self, config: ServerConfig, gate: Gate, pool: CallPool, streams: Streams) -> None:
        self._config = config
        self._gate = gate
        self._pool = pool
        self._streams = streams

    def collect(self) -> Iterator[Family]:
        """Yield these metrics."""
        version = (__version__, platform.python_version(), grpc.__version__)
        read_items, sent_items = self._streams.items()
        yield single(definitions.CALLS_IN_FLIGHT, self._gate.in_flight)
        yield single(definitions.RPC_THREADS, self._config.rpc_threads)
        yield single(definitions.RPC_THREADS_BUSY, self._pool.busy)
        yield single(definitions.RPC_WAITING, self._pool.waiting)
        yield single(definitions.STREAMS_OPEN, self._streams.open)
        yield single(definitions.STREAMS_LIMIT, self._config.max_streams)
        yield family(definitions.STREAM_ITEMS, [(("read",), read_items), (("sent",), sent_items)])
        yield family(definitions.BUILD_INFO, [(version, 1)])
        yield single(definitions.DRAINING, not self._gate.is_open)
