"""The port that metrics are served on."""

import logging
import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from ..addresses import check_port

log = logging.getLogger(__name__)

PATH = "/metrics"
LOOK_S = 0.1
"""How long it may take to notice that it is to end."""
PATIENCE_S = 10.0
"""How long a caller may take to say what it wants, and to take the answer."""


class Exposition:
    """Serves the metrics of a registry from now on, on threads of its own, until it is closed.

    Raises StartError when the address cannot be had. `port` is the one that was bound.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        check_port(host, port)
        self._server = _Server((host, port), _Handler.factory(registry))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serve nothing any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    block_on_close = False  # nobody who reads slowly keeps the server from ending

    def __init__(self, address: tuple[str, int], handler: type) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks for the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("somebody who asked for metrics left before they were sent")


class _Handler(MetricsHandler):
    timeout = PATIENCE_S
    server_version = "classwire"
    sys_version = ""

    def do_GET(self) -> None:
        if urlsplit(self.path).path == PATH:
            super().do_GET()
        else:
            self.send_error(404)
