"""Serves the metrics over HTTP."""

import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, start_http_server

from classwire_server.config.endpoints import cannot_listen, target_of

PATH = "/metrics"
TIMEOUT_S = 10.0
"""Time for a client to send its request, and to read the response."""

BACKLOG = 128
"""Connections that may wait to be accepted."""


class Exposition:
    """Serves the metrics of a registry with prometheus-client's HTTP server.

    Raises StartError if it cannot listen on the address. `port` is the bound port. The server
    closes connections whose client sends or reads nothing for `timeout_s`.
    """

    def __init__(
        self, registry: CollectorRegistry, host: str, port: int, timeout_s: float = TIMEOUT_S
    ) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise cannot_listen(target_of(host, port), error) from None
        self._server.RequestHandlerClass = type("Handler", (_Handler,), {"timeout": timeout_s})
        self._server.set_app(_only_at_path(self._server.get_app()))
        # With the default of 5, a burst of connections waits a second for its SYN to be repeated.
        self._server.socket.listen(BACKLOG)
        self.port = self._server.server_port

    def close(self) -> None:
        """Stop listening. Open connections end by themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    """Logs nothing, because its lines would break a JSON log."""

    def handle(self) -> None:
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def get_stderr(self) -> Any:
        return io.StringIO()

    def log_message(self, *_: Any) -> None:
        pass


def _only_at_path(app: Any) -> Any:
    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            served: Iterable[bytes] = app(environ, start)
            return served
        start("404 Not Found", [])
        return ()

    return serve
