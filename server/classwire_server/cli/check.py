"""Checks everything that a server needs to start, without serving."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from classwire_server.config.endpoints import check_port, check_unix_socket, target_of
from classwire_server.config.model_source import ModelSource
from classwire_server.config.predictions import ShadowSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Launched
from classwire_server.engine.worker.pool import launch
from classwire_server.errors import ConfigError, StartError
from classwire_server.observability.shadow.shadows import check
from classwire_server.registry.loader import Launch, Loader
from classwire_server.registry.memory_budget import MB
from classwire_server.registry.registry import Registry
from classwire_server.security.authenticator import Authenticator
from classwire_server.security.certificate_check import count_authorities, inspect_certificate

launch_anew = partial(launch, anew=True)
"""Starts a model, and measures its engine even if an earlier start has measured it."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: a fact, or the reason why a server cannot start.

    `exit_code` is that of a server that fails this check, or 0. `choices` are those of a model's
    engine.
    """

    what: str
    detail: str
    exit_code: int = 0
    choices: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        """Return one line."""
        return f"{'failed' if self.exit_code else 'ok':7} {self.what}: {self.detail}"


def findings(config: ServerConfig, launch: Launch = launch_anew) -> Iterator[Finding]:
    """Run every check, in the order of a server's start. A failed check does not stop the next.

    Loads, checks and warms up all models together, as a server does, and ends them afterwards.
    Failed checks are findings; they raise nothing.
    """
    yield Finding("settings", "all are in range, and none contradicts another")
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


def model_findings(config: ServerConfig, launch: Launch = launch_anew) -> Iterator[Finding]:
    """Load, check and warm up each model. Yields its finding with the choices made for it."""
    chosen: dict[ModelSource, tuple[Choice, ...]] = {}

    def launch_noted(source: ModelSource, *how: Any) -> Launched:
        launched = launch(source, *how)
        chosen[source] = launched.choices
        return launched

    with ExitStack() as loaded:
        registry = Registry(config.sources)
        loader = Loader(config, launch_noted, registry, lambda: None, {})
        for source in config.sources:
            look = partial(_model, source, config, loader, registry, loaded)
            finding = _tried(f"model {source.name}", look)
            yield replace(finding, choices=chosen.get(source, ()))
        for shadow in config.shadows:
            yield _tried(f"shadow of {shadow.model}", partial(_shadow, shadow, registry))


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
    return f"{config.tls_client_ca} has {count_authorities(config.tls_client_ca)}"


def _callers(config: ServerConfig) -> str:
    return f"{config.callers} names {', '.join(Authenticator(config).names)}"


def _address(host: str, port: int) -> str:
    check_port(host, port)
    return f"{target_of(host, port)} is free" if port else f"any free port of {host}"


def _unix_socket(path: str) -> str:
    check_unix_socket(path)
    return f"{path} is free"


def _shadow(source: ShadowSource, registry: Registry) -> str:
    check(source, registry)
    return f"{source.other} can score {100 * source.share:g} % of its texts"


def _model(
    source: ModelSource, config: ServerConfig, loader: Loader, registry: Registry, loaded: ExitStack
) -> str:
    served = loader.load(source)
    loaded.callback(served.dispatcher.close)
    registry.put(source, served)  # so that the memory budget counts it for the next model
    checkpoint, traits = served.checkpoint, served.engine.traits
    deviation = served.engine.deviation
    return (
        f"{checkpoint.architecture}, {len(checkpoint.labels)} labels, {traits.precision.value} on "
        f"{config.device if len(config.devices) > 1 else traits.device}, "
        f"{served.memory_bytes / MB:.0f} MB, fingerprint {checkpoint.fingerprint[:12]}; labels "
        f"agree with plain float32 on {100 * deviation.label_agreement:.1f} % of "
        f"{deviation.texts} texts, scores within {deviation.max_score_difference:.1e}"
    )
