"""Build, warm up, answer health checks, drain, stop."""

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from .admin.server import Administration
from .config.endpoints import check_port, check_unix_socket, target_of
from .config.server_config import ServerConfig
from .engine.worker.pool import launch
from .errors import StartError
from .gate import Gate
from .observability import logs as access_log
from .observability.metrics.server import Metrics
from .registration import HEALTH_SERVICE, call_services, calls, guards, health_calls, methods
from .registry.loader import Launch, Loader
from .registry.registry import ModelState, Registry
from .rpc import reflection
from .rpc.call_pool import CallExecutor, CallPool, Entrance, OnPool
from .rpc.health import LIVENESS, Health, model_health
from .rpc.observer import CallObserver
from .rpc.server_options import FAREWELL_S, grpc_options
from .security.certificates import Certificates
from .service.streaming.streams import Streams

if TYPE_CHECKING:
    from .observability.tracing.tracer import Tracing

log = logging.getLogger(__name__)

HEALTH_THREADS = 8
"""So many callers may let the threads of health wait for a message; one more ends the first."""
SWITCH_INTERVAL_S = 0.0005
"""How long a thread that wants Python's lock leaves it to another. One thread of gRPC's brings all
calls, and wants it for each; by itself Python has it wait ten times as long.
"""


class Server:
    """One server: its port, its models, its health.

    `listen`, `load` and `stop` are called in this order, by any thread; `start` is the first two.
    As a context manager it starts and stops. Threads of its process take turns more often than
    elsewhere (SWITCH_INTERVAL_S). `launch` starts the models' engines. `on_drain` is
    called when an operator ends the server; by itself it stops. `tracing` is in place of what the
    settings say of traces.
    """

    def __init__(
        self, config: ServerConfig, launch: Launch = launch, tracing: "Tracing | None" = None
    ) -> None:
        self.config = config
        self.port = 0
        self.on_drain: Callable[[], None] = self._drain
        self._certificates = Certificates(config) if config.tls_cert else None
        self._registry = Registry(config.sources)
        self._loader = Loader(config, launch, self._registry, self._heed)
        self._gate = Gate()
        self._health = Health()
        self._calls = CallPool(config.rpc_threads, config.max_waiting_calls)
        self._health_checks = ThreadPoolExecutor(HEALTH_THREADS, "health")
        self._reflections = CallPool(reflection.THREADS, reflection.MAX_WAITING, "reflection")
        self._stopping = threading.Lock()  # guards _stopped and _loaded
        self._stopped = False
        self._loaded = False
        self._streams = Streams(self._gate, config)
        self._metrics: Metrics | None = None
        listeners = [access_log.write] if config.access_log else []
        if config.metrics_port >= 0:
            self._metrics = Metrics(config, self._registry, self._gate, self._calls, self._streams)
            listeners.append(self._metrics.calls.ended)
        self._tracing = tracing or _tracing(config)
        if self._tracing is not None:
            listeners.append(self._tracing.ended)
        self._admin: Administration | None = None
        if config.admin_port >= 0:
            self._admin = Administration(
                config,
                self._registry,
                self._loader,
                self._gate,
                self._streams,
                certificates=self._certificates,
                listeners=listeners,
                on_change=self._heed,
                on_gone=lambda name: self._health.forget(model_health(name)),
                drain=lambda: self.on_drain(),
            )
        executor = CallExecutor(self._calls)
        begin = self._tracing.begin if self._tracing else None
        self._grpc = grpc.server(
            executor,
            options=grpc_options(config),
            interceptors=[
                CallObserver(methods(), listeners, executor, begin),
                *guards(config, executor),
            ],
        )
        served = calls(self._registry, self._gate, self._calls, self._streams, config)
        health = health_calls(self._health, HEALTH_THREADS, config)
        handlers: list[grpc.GenericRpcHandler] = [
            Entrance(served, self._gate, self._calls, executor),
            OnPool(health, self._health_checks, executor),
        ]
        if config.reflection:
            services = (*call_services(config), HEALTH_SERVICE)
            handlers.append(reflection.calls(self._gate, self._reflections, executor, services))
        self._grpc.add_generic_rpc_handlers(handlers)

    @property
    def target(self) -> str:
        """Where a client finds the server: `host:port`, or `unix:path`."""
        if not self.config.host:
            return f"unix:{self.config.unix_socket}"
        return target_of(self.config.host, self.port)

    @property
    def metrics_target(self) -> str:
        """Where metrics are found, as `host:port`; empty where they are not served."""
        return self._metrics.target if self._metrics is not None else ""

    @property
    def admin_target(self) -> str:
        """Where the admin service is found, as `host:port`; empty where it is not served."""
        return self._admin.target if self._admin is not None else ""

    def start(self) -> None:
        """Listen and load. Raises StartError, with nothing left running."""
        self.listen()
        self.load()

    def listen(self) -> None:
        """Bind the port: alive, and not ready. Raises StartError when the address cannot be had."""
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
        with self._stopping:
            self._say_health()
            self._health.set(LIVENESS, HealthCheckResponse.SERVING)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._grpc.start()

    def load(self) -> None:
        """Load and warm up every model, then say SERVING.

        Raises StartError when one of them cannot be served; the server is stopped then.
        """
        for source in self.config.sources:
            try:
                served = self._loader.load(source)
            except Exception as error:
                self._registry.refused(source.name, str(error))
                self.stop(drain_timeout_s=0)
                raise
            with self._stopping:
                stopped = self._stopped
                if not stopped:
                    self._registry.put(source, served)
            if stopped:
                served.dispatcher.close()
                return
        with self._stopping:
            self._loaded = True
            self._say_health()
        if self._admin is not None:
            self._admin.allow()

    def stop(self, drain_timeout_s: float | None = None) -> None:
        """Drain, then stop: health says NOT_SERVING, calls in flight finish, new ones get DRAINING.

        Waits at most drain_timeout_s (default: the config's) for calls in flight, then cancels
        them. Does nothing the second time.
        """
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            self._say_health()
        if self._admin is not None:
            self._admin.forbid()
        if drain_timeout_s is None:
            drain_timeout_s = self.config.drain_timeout_s
        self._gate.close()
        drained = self._gate.wait_until_empty(drain_timeout_s)
        if not drained:
            log.warning("calls are still in flight after %g s; cancelling them", drain_timeout_s)
        self._grpc.stop(FAREWELL_S if drained else 0).wait()
        for entry in self._registry.entries():
            if entry.served is not None:
                entry.served.dispatcher.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._admin is not None:
            self._admin.close()
        for pool in (self._calls, self._health_checks, self._reflections):
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

    def _bind(self, address: str, certificates: Certificates | None) -> int:
        try:
            if certificates is not None:
                return self._grpc.add_secure_port(address, certificates.credentials())
            return self._grpc.add_insecure_port(address)
        except RuntimeError:
            raise StartError(f"cannot listen on {address}") from None

    def _drain(self) -> None:
        threading.Thread(target=self.stop, name="drain", daemon=True).start()

    def _heed(self) -> None:
        """A model's engine may have gone down, or come up; or there is another model."""
        with self._stopping:
            self._say_health()

    def _say_health(self) -> None:
        """Publish which models are ready, and whether all are; called with the lock held."""
        serving = self._loaded and not self._stopped
        ready = {
            model_health(entry.source.name): serving and entry.state()[0] is ModelState.READY
            for entry in self._registry.entries()
        }
        ready |= dict.fromkeys(("", *call_services(self.config)), all(ready.values()))
        for service, is_ready in ready.items():
            status = HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING
            self._health.set(service, status)


def _tracing(config: ServerConfig) -> "Tracing | None":
    if not config.traces:
        return None
    from .observability.tracing.export import (
        tracing_to_collector,  # OpenTelemetry need not be there without
    )

    return tracing_to_collector(config)
