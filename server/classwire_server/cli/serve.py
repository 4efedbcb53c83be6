"""`classwire serve`: reads the settings, serves until a signal, sets the exit code."""

import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from classwire.escaping import visible
from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX, resolve
from classwire_server.errors import ConfigError, StartError

from .options import CONFIG, SettingsCommand

if TYPE_CHECKING:
    from classwire_server.server import Server

log = logging.getLogger(__name__)

SIGNAL_LAG_S = 0.5
"""Longest wait of the main thread. A signal that reaches another thread, or comes just before a
wait, does not interrupt the wait; Python handles the signal after it.
"""


def _serve(config: str | None, check: bool, **flags: Any) -> None:
    """Serve text classifiers over gRPC.

    Every setting is also an environment variable (CLASSWIRE_MAX_STREAMS) and a key in the TOML file
    (max_streams). The command line overrides the environment, which overrides the file.

    Prints "listening on ADDRESS" when the port is bound, "admin on ADDRESS" and "metrics on
    ADDRESS" if they are enabled, and "serving" when every model is ready.
    SIGTERM or Ctrl-C drains the server, which then exits with 0. A second signal exits at once.

    With --check, the server does not serve. It checks everything that a start needs, prints one
    line for each check, and for each model the choices made and why. It exits with 0 if every
    check passes, else with the exit code of a failed start.
    """
    # Imported here, so that help and shell completion are fast.
    from classwire_server.engine.worker.forking import start_ahead
    from classwire_server.observability import logs

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        file = config or os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
        settings = resolve(given, os.environ, file)
        logs.configure(settings.log_level, settings.log_format)
        if settings.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it once, at import
        start_ahead(settings.devices)
        if not check:
            from classwire_server.server import Server

            run(Server(settings))
        elif code := _check(settings):
            raise click.exceptions.Exit(code)
    except StartError as error:
        print(f"classwire serve: {visible(str(error))}", file=sys.stderr)
        raise click.exceptions.Exit(2 if isinstance(error, ConfigError) else 1) from None


def _check(config: ServerConfig) -> int:
    """Print each finding as soon as it is known. Returns the exit code of a real start."""
    from .check import findings

    code = 0
    for finding in findings(config):
        _say(str(finding))
        for choice in finding.choices:
            _say(f"        {choice.what}: {choice.value} ({choice.why})")
        code = code or finding.exit_code
    return code


def run(server: "Server") -> None:
    """Serve until a signal. The server also handles signals while it loads."""
    wake = threading.Event()
    failures: list[BaseException] = []
    signals = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(128 + number)
        wake.set()

    def load() -> None:
        try:
            server.load()
            _say("serving")
        except BaseException as error:  # the main thread raises it
            failures.append(error)
            wake.set()

    def stop() -> None:
        try:
            server.stop()
        except BaseException as error:  # as above
            failures.append(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server.on_drain = wake.set
    server.listen()
    _say(f"listening on {server.target}")
    if server.admin_target:
        _say(f"admin on {server.admin_target}")
    if server.metrics_target:
        _say(f"metrics on {server.metrics_target}")
    loading = threading.Thread(target=load, name="load", daemon=True)
    loading.start()
    while not wake.wait(SIGNAL_LAG_S):
        pass
    if failures:
        server.stop(drain_timeout_s=0)  # a process that serves nothing must end
        raise failures[0]
    log.info("draining; a second signal exits at once")
    stopping = threading.Thread(target=stop, name="stop", daemon=True)
    stopping.start()
    while stopping.is_alive():
        stopping.join(SIGNAL_LAG_S)
    if failures:
        raise failures[0]
    log.info("stopped")
    if loading.is_alive():
        os._exit(0)  # it waits for a worker, which ends with this process


def _say(line: str) -> None:
    """Print a line at once. A closed standard output does not stop the server."""
    try:
        print(visible(line), flush=True)
    except OSError as error:
        log.warning("standard output: %s", error.strerror)
        # What is still buffered has nowhere to go, and would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


serve = SettingsCommand(
    "serve",
    _serve,
    own=[
        CONFIG,
        click.Option(
            ["--check"],
            is_flag=True,
            help="Check everything that a start needs, models included, print the result and exit.",
        ),
    ],
)
