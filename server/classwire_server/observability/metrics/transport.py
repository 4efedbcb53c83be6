"""What serves the calls of a port, read when it is asked for."""

import platform
from collections.abc import Iterator

import grpc

from classwire_server import __version__
from classwire_server.config.server_config import ServerConfig
from classwire_server.gate import Gate
from classwire_server.rpc.call_pool import CallPool
from classwire_server.service.streaming.streams import Streams

from . import definitions as table
from .families import Family, alone, family


class TransportMetrics:
    """Collects what is known of threads and streams, and of the server itself."""

    def __init__(self, config: ServerConfig, gate: Gate, pool: CallPool, streams: Streams) -> None:
        self._config = config
        self._gate = gate
        self._pool = pool
        self._streams = streams

    def collect(self) -> Iterator[Family]:
        """Their metrics."""
        version = (__version__, platform.python_version(), grpc.__version__)
        read_items, sent_items = self._streams.items()
        yield alone(table.CALLS_IN_FLIGHT, self._gate.in_flight)
        yield alone(table.RPC_THREADS, self._config.rpc_threads)
        yield alone(table.RPC_THREADS_BUSY, self._pool.busy)
        yield alone(table.RPC_WAITING, self._pool.waiting)
        yield alone(table.STREAMS_OPEN, self._streams.open)
        yield alone(table.STREAMS_LIMIT, self._config.max_streams)
        yield family(table.STREAM_ITEMS, [(("read",), read_items), (("sent",), sent_items)])
        yield family(table.BUILD_INFO, [(version, 1)])
        yield alone(table.DRAINING, not self._gate.is_open)
