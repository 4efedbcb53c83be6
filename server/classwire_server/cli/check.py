"""Whether a server could start as it is asked to: all that it needs, tried without serving."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from classwire_server.config.endpoints import check_port, check_unix_socket, target_of
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Launched
from classwire_server.engine.worker.pool import launch
from classwire_server.errors import ConfigError, StartError
from classwire_server.registry.loader import Launch, Loader
from classwire_server.registry.memory_budget import MB
from classwire_server.registry.registry import Registry
from classwire_server.security.authenticator import Authenticator
from classwire_server.security.certificate_check import authorities, inspect_certificate


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what is known of it, or why no server can start with it.

    `exit_code` is that of a server which meets it, 0 where nothing is wrong. `choices` are those of
    a model's engine.
    """

    what: str
    said: str
    exit_code: int = 0
    choices: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        """One line."""
        return f"{'failed' if self.exit_code else 'ok':7} {self.what}: {self.said}"


def findings(config: ServerConfig, launch: Launch = launch) -> Iterator[Finding]:
    """Look at everything in the order of a server's start, whatever was wrong before.

    Models are loaded, checked and warmed up as a server does it, beside each other, and ended at
    the end. Raises nothing for what would keep a server from starting.
    """
    yield Finding("settings", "all within their ranges, and none contradicts another")
    if config.tls_cert:
        yield _tried("certificate", partial(_certificate, config))
    if config.tls_client_ca:
        yield _tried("authorities of callers", partial(_authorities, config))
    if config.callers:
        yield _tried("callers", partial(_callers, config))
    for what, host, port in (
        ("address", config.host, config.port if config.host else -1),
        ("address of metrics", config.metrics_host, config.metrics_port),
        ("address of admin", config.admin_host, config.admin_port),
    ):
        if port >= 0:
            yield _tried(what, partial(_address, host, port))
    if config.unix_socket:
        yield _tried("Unix socket", partial(_unix_socket, config.unix_socket))
    yield from model_findings(config, launch)


def model_findings(config: ServerConfig, launch: Launch = launch) -> Iterator[Finding]:
    """Load, check and warm up each model, and tell what was chosen for it."""
    chosen: dict[ModelSource, tuple[Choice, ...]] = {}

    def launch_noted(source: ModelSource, *how: Any) -> Launched:
        launched = launch(source, *how)
        chosen[source] = launched.choices
        return launched

    with ExitStack() as loaded:
        registry = Registry(config.sources)
        loader = Loader(config, launch_noted, registry, lambda: None)
        for source in config.sources:
            look = partial(_model, source, config, loader, registry, loaded)
            finding = _tried(f"model {source.name}", look)
            yield replace(finding, choices=chosen.get(source, ()))


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except StartError as error:
        return Finding(what, str(error), 2 if isinstance(error, ConfigError) else 1)


def _certificate(config: ServerConfig) -> str:
    report = inspect_certificate(config.tls_cert, config.tls_key)
    names = ", ".join(report.names) or "no name"
    return f"{config.tls_cert} is for {names}, until {report.until:%Y-%m-%d %H:%M} UTC"


def _authorities(config: ServerConfig) -> str:
    return f"{config.tls_client_ca} has {authorities(config.tls_client_ca)}"


def _callers(config: ServerConfig) -> str:
    return f"{config.callers} names {', '.join(Authenticator(config).names)}"


def _address(host: str, port: int) -> str:
    check_port(host, port)
    return f"{target_of(host, port)} is free" if port else f"any free port of {host}"


def _unix_socket(path: str) -> str:
    check_unix_socket(path)
    return f"{path} is free"


def _model(
    source: ModelSource, config: ServerConfig, loader: Loader, registry: Registry, loaded: ExitStack
) -> str:
    served = loader.load(source)
    loaded.callback(served.dispatcher.close)
    registry.put(source, served)  # so that the next one must find room beside it
    checkpoint, traits = served.checkpoint, served.engine.traits
    deviation = served.engine.deviation
    return (
        f"{checkpoint.architecture}, {len(checkpoint.labels)} labels, {traits.precision.value} on "
        f"{config.device if len(config.devices) > 1 else traits.device}, "
        f"{served.memory_bytes / MB:.0f} MB, fingerprint {checkpoint.fingerprint[:12]}; labels "
        f"agree with plain float32 on {100 * deviation.label_agreement:.1f} % of "
        f"{deviation.texts} texts, scores within {deviation.max_score_difference:.1e}"
    )
