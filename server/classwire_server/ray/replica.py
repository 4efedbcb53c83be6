"""A server, as a replica of a deployment of Ray Serve. No request goes through Ray Serve."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray.util
from ray import serve

from classwire import Client

from .queue_time import QueueTime
from .scaling import QUEUE_SECONDS
from .server_process import ServerProcess

HEALTH_PERIOD_S = 1.0
"""How often Ray Serve checks a replica, which then announces its server."""
HEALTH_TIMEOUT_S = 5.0
RECOVERY_S = 30.0
"""How long a server may be NOT_SERVING, for it starts a model's process again by itself."""
LEAD_S = 3.0
"""Time between the withdrawal of a server's address and its drain, so that balancers see it."""


class Replica:
    """Starts a server on its node. Ray Serve calls all methods, on one thread."""

    def __init__(self, directory: Any, arguments: Sequence[str], drain_timeout_s: float) -> None:
        self._directory = directory
        self._name: str = serve.get_replica_context().replica_id.unique_id
        host = ray.util.get_node_ip_address()
        self._server: ServerProcess | None = ServerProcess(host, arguments, drain_timeout_s)
        self._client = Client(
            self._server.local_target, timeout_s=HEALTH_TIMEOUT_S - 1.0, retry=False
        )
        self._queue_time = QueueTime(self._server.metrics)
        self._served_s = time.monotonic()

    def check_health(self) -> None:
        """Announce the server if it is SERVING by grpc.health.

        Raises if it has ended, gives no answer, or has not been SERVING for RECOVERY_S: Ray Serve
        replaces a replica that raises three times in a row.
        """
        assert self._server is not None
        if self._server.exit_code is not None:
            raise RuntimeError(f"the server ended with exit code {self._server.exit_code}")
        status, now_s = self._client.health(), time.monotonic()
        if status == "SERVING":
            self._served_s = now_s
            self._directory.announce.remote(self._name, self._server.target)
        elif now_s > self._served_s + RECOVERY_S:
            raise RuntimeError(f"the server is {status}")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The mean queue time of the texts since the last call, for `scaling`."""
        with suppress(OSError):
            return {QUEUE_SECONDS: self._queue_time.mean_s()}
        return {}

    def __del__(self) -> None:
        """Withdraw the server's address, then drain the server."""
        server, self._server = getattr(self, "_server", None), None
        if server is None:
            return
        self._directory.withdraw.remote(self._name)
        time.sleep(LEAD_S)
        server.end()
        self._client.close()
