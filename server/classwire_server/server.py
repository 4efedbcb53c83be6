"""The composition root: builds a server from its parts, listens, loads, drains, stops."""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from .admin.changes import Changes
from .admin.server import AdminServer
from .admin.service import AdminService
from .config.endpoints import check_port, check_unix_socket, target_of
from .config.server_config import ServerConfig
from .engine.worker.pool import launch
from .errors import StartError
from .gate import Gate
from .observability import logs
from .observability.metrics.server import Metrics
from .observability.shadow.shadows import Shadows, check
from .registration import HEALTH_SERVICE, call_services, calls, health_calls, interceptors, methods
from .registry.loader import Launch, Loader
from .registry.registry import ModelState, Registry
from .rpc import reflection
from .rpc.call_executor import AdmittingServices, CallExecutor, PooledServices
from .rpc.call_pool import CallPool
from .rpc.health import LIVENESS, Health, model_health
from .rpc.observer import CallObserver
from .rpc.rejection import Listener
from .rpc.server_options import FAREWELL_S, grpc_options
from .service.streaming.streams import Streams

if TYPE_CHECKING:
    from .observability.tracing.tracer import Tracing
    from .security.certificates import Certificates

log = logging.getLogger(__name__)

HEALTH_THREADS = 8
"""Threads for health checks. Callers who send no message can hold all but one of them."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread holds Python's lock while others wait for it. gRPC's one thread needs the lock
for each call; Python's default is ten times as long.
"""


class Server:
    """One server: its ports, its models, its health.

    Call `listen`, `load` and `stop` in this order, from any thread; `start` does the first two. As
    a context manager it starts and stops. It makes all threads of its process switch more often
    (SWITCH_INTERVAL_S). `launch` starts the engines of models. `on_drain` runs when an operator
    drains the server; the default stops the server. `tracing` replaces that of the settings.

    `registry` holds the models, `loader` loads more of them, `calls` is the thread pool of calls,
    `gate` counts the calls in flight, and `streams` the open streams.
    """

    def __init__(
        self, config: ServerConfig, launch: Launch = launch, tracing: "Tracing | None" = None
    ) -> None:
        self.config = config
        self.port = 0
        self.on_drain: Callable[[], None] = self._drain
        self.registry = Registry(config.sources)
        self._shadows = Shadows(config, self.registry)
        self.loader = Loader(config, launch, self.registry, self._state_changed, self._shadows)
        self.gate = Gate()
        self.streams = Streams(self.gate, config)
        self.calls = CallPool(config.rpc_threads, config.max_waiting_calls)
        self._health = Health()
        self._health_checks = ThreadPoolExecutor(HEALTH_THREADS, "health")
        self._reflections = CallPool(reflection.THREADS, reflection.MAX_WAITING, "reflection")
        self._lock = threading.Lock()  # guards _stopped and _loaded
        self._stopped = False
        self._loaded = False
        self._certificates = _certificates(config)
        self._metrics: Metrics | None = None
        if config.metrics_port >= 0:
            self._metrics = Metrics(
                config, self.registry, self.gate, self.calls, self.streams, self._shadows
            )
        self._tracing = tracing or _tracing(config)
        listeners = self._listeners()
        self._admin = self._admin_server(listeners) if config.admin_port >= 0 else None
        self._grpc = self._grpc_server(listeners)

    def _listeners(self) -> list[Listener]:
        listeners: list[Listener] = [logs.write] if self.config.access_log else []
        if self._metrics is not None:
            listeners.append(self._metrics.calls.ended)
        if self._tracing is not None:
            listeners.append(self._tracing.ended)
        return listeners

    def _admin_server(self, listeners: Sequence[Listener]) -> AdminServer:
        changes = Changes(
            self.registry,
            self.loader,
            self.config.drain_timeout_s,
            on_change=self._state_changed,
            on_gone=lambda name: self._health.forget(model_health(name)),
        )
        service = AdminService(
            self.registry,
            changes,
            self.gate,
            self.streams,
            self.config,
            drain=lambda: self.on_drain(),
        )
        return AdminServer(self.config, service, self._certificates, listeners)

    def _grpc_server(self, listeners: Sequence[Listener]) -> grpc.Server:
        config = self.config
        executor = CallExecutor(self.calls)
        begin = self._tracing.begin if self._tracing is not None else None
        server = grpc.server(
            executor,
            options=grpc_options(config),
            interceptors=[
                CallObserver(methods(), listeners, executor, begin),
                *interceptors(config, executor),
            ],
        )
        served = calls(self.registry, self.gate, self.calls, self.streams, config)
        health = health_calls(self._health, HEALTH_THREADS, config)
        self._admitting = AdmittingServices(served, self.gate, self.calls, executor)
        handlers: list[grpc.GenericRpcHandler] = [
            self._admitting,
            PooledServices(health, self._health_checks, executor),
        ]
        if config.reflection:
            services = (*call_services(config), HEALTH_SERVICE)
            handlers.append(reflection.calls(self.gate, self._reflections, executor, services))
        server.add_generic_rpc_handlers(handlers)
        return server

    @property
    def target(self) -> str:
        """The address for clients: `host:port`, or `unix:path`."""
        if not self.config.host:
            return f"unix:{self.config.unix_socket}"
        return target_of(self.config.host, self.port)

    @property
    def metrics_target(self) -> str:
        """The address of metrics, as `host:port`; empty where the server has none."""
        return self._metrics.target if self._metrics is not None else ""

    @property
    def admin_target(self) -> str:
        """The address of the admin service, as `host:port`; empty where the server has none."""
        return self._admin.target if self._admin is not None else ""

    def start(self) -> None:
        """Listen and load. Raises StartError, and then nothing is left running."""
        self.listen()
        self.load()

    def listen(self) -> None:
        """Bind the ports; the server is then alive and not ready. Raises StartError if it can't."""
        config = self.config
        if config.host:
            check_port(config.host, config.port)
            self.port = config.port
            self.port = self._bind(self.target, self._certificates)
        if config.unix_socket:
            check_unix_socket(config.unix_socket)
            self._bind(f"unix:{config.unix_socket}", None)
        if self._metrics is not None:
            self._metrics.listen()
        if self._admin is not None:
            self._admin.listen()
        with self._lock:
            self._publish_health()
            self._health.set(LIVENESS, HealthCheckResponse.SERVING)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._grpc.start()

    def load(self) -> None:
        """Load and warm up every model, then report SERVING.

        If a model can't be served, stops the server and raises StartError.
        """
        for source in self.config.sources:
            try:
                served = self.loader.load(source)
            except Exception as error:
                self.registry.mark_failed(source.name, str(error))
                self.stop(drain_timeout_s=0)
                raise
            with self._lock:
                stopped = self._stopped
                if not stopped:
                    self.registry.put(source, served)
            if stopped:
                served.dispatcher.close()
                return
        try:
            for shadow in self.config.shadows:
                check(shadow, self.registry)
        except StartError:
            self.stop(drain_timeout_s=0)
            raise
        self._shadows.look()
        with self._lock:
            self._loaded = True
            self._publish_health()
        if self._admin is not None:
            self._admin.allow()

    def stop(self, drain_timeout_s: float | None = None) -> None:
        """Drain, then stop: health is NOT_SERVING, calls in flight finish, new ones get DRAINING.

        Waits at most `drain_timeout_s` (default: the config's) for calls in flight, then cancels
        them. Further calls do nothing.
        """
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._publish_health()
        if self._admin is not None:
            self._admin.forbid()
        self._shadows.close()
        if drain_timeout_s is None:
            drain_timeout_s = self.config.drain_timeout_s
        self.gate.close()
        drained = self.gate.wait_until_empty(drain_timeout_s)
        if drained:
            self._admitting.wait_until_quiet(FAREWELL_S)
        else:
            log.warning("calls are still in flight after %g s; cancelling them", drain_timeout_s)
        self._grpc.stop(FAREWELL_S if drained else 0).wait()
        for entry in self.registry.entries():
            if entry.served is not None:
                entry.served.dispatcher.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._admin is not None:
            self._admin.close()
        for pool in (self.calls, self._health_checks, self._reflections):
            pool.shutdown(wait=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _bind(self, address: str, certificates: "Certificates | None") -> int:
        try:
            if certificates is not None:
                return self._grpc.add_secure_port(address, certificates.credentials())
            return self._grpc.add_insecure_port(address)
        except RuntimeError:
            raise StartError(f"cannot listen on {address}") from None

    def _drain(self) -> None:
        threading.Thread(target=self.stop, name="drain", daemon=True).start()

    def _state_changed(self) -> None:
        """Called when an engine goes down or comes up, or the models change."""
        with self._lock:
            self._publish_health()
            is_loaded = self._loaded
        if is_loaded:
            self._shadows.look()

    def _publish_health(self) -> None:
        """Publish the health of each model and service. The caller holds the lock."""
        is_serving = self._loaded and not self._stopped
        ready = {
            model_health(entry.source.name): is_serving and entry.state()[0] is ModelState.READY
            for entry in self.registry.entries()
        }
        ready |= dict.fromkeys(("", *call_services(self.config)), all(ready.values()))
        for service, is_ready in ready.items():
            status = HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING
            self._health.set(service, status)


def _certificates(config: ServerConfig) -> "Certificates | None":
    if not config.tls_cert:
        return None
    # Imported here, since without TLS a server needs no cryptography, a large library.
    from .security.certificates import Certificates

    return Certificates(config)


def _tracing(config: ServerConfig) -> "Tracing | None":
    if not config.traces:
        return None
    # Imported here, since OpenTelemetry is optional.
    from .observability.tracing.export import tracing_to_collector

    return tracing_to_collector(config)
