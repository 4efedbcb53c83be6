"""`classwire serve`: settings from all their sources, signals, exit codes."""

import dataclasses
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import click

from classwire.escaping import visible
from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX, resolve
from classwire_server.errors import ConfigError, StartError
from classwire_server.observability import logs
from classwire_server.server import Server

from .check import findings
from .options import option

log = logging.getLogger(__name__)

SIGNAL_LAG_S = 0.5
"""How long the main thread waits at a time. Python hears a signal only after a wait that it did not
interrupt: one that came just before it, or reached another thread.
"""


def _serve(config: str | None, check: bool, **flags: Any) -> None:
    """Serve text classifiers over gRPC.

    Every setting is also an environment variable (CLASSWIRE_MAX_STREAMS) and a key of the TOML file
    (max_streams). The command line wins over the environment, the environment over the file, the
    file over the default.

    Prints "listening on ADDRESS" once the port is bound, "metrics on ADDRESS" and "admin on
    ADDRESS" where they are asked for, and "serving" once every model answers.
    SIGTERM or Ctrl-C drains and exits with 0; a second one exits at once.

    With --check nothing is served: it prints a line for each thing that a start needs, and for each
    model what was chosen and why. It exits as a server would that meets them.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        file = config or os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
        settings = resolve(given, os.environ, file)
        logs.configure(settings.log_level, settings.log_format)
        if settings.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's library reads it once, when imported
        if not check:
            run(Server(settings))
        elif code := _check(settings):
            raise click.exceptions.Exit(code)
    except StartError as error:
        print(f"classwire serve: {visible(str(error))}", file=sys.stderr)
        raise click.exceptions.Exit(2 if isinstance(error, ConfigError) else 1) from None


def _check(config: ServerConfig) -> int:
    """Print what a server would meet, as it is found; returns the exit code that it would have."""
    code = 0
    for finding in findings(config):
        _say(str(finding))
        for choice in finding.choices:
            _say(f"        {choice.what}: {choice.value} ({choice.why})")
        code = code or finding.exit_code
    return code


def run(server: Server) -> None:
    """Serve until a signal, which also interrupts loading. Call it on the main thread."""
    wake = threading.Event()
    failures: list[BaseException] = []
    signals = 0

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(128 + number)
        wake.set()

    def load() -> None:
        try:
            server.load()
            _say("serving")
        except BaseException as error:  # handed to the main thread, whatever it is
            failures.append(error)
            wake.set()

    def stop() -> None:
        try:
            server.stop()
        except BaseException as error:  # as above
            failures.append(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
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
        server.stop(drain_timeout_s=0)  # whatever failed: a process that serves nothing ends
        raise failures[0]
    log.info("draining; a second signal exits at once")
    stopping = threading.Thread(target=stop, name="stop", daemon=True)
    stopping.start()
    while stopping.is_alive():
        stopping.join(SIGNAL_LAG_S)
    if failures:
        raise failures[0]
    if loading.is_alive():
        os._exit(0)  # it waits for a worker, which ends when this process does


def _say(line: str) -> None:
    """Print a line for whoever waits for it; a reader that has left does not stop the server."""
    try:
        print(visible(line), flush=True)
    except OSError as error:
        log.warning("standard output: %s", error.strerror)
        # What is still buffered has nowhere to go, and would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


serve = click.Command(
    "serve",
    callback=_serve,
    help=_serve.__doc__,
    params=[
        click.Option(["--config"], metavar="FILE", help="TOML file with settings."),
        click.Option(
            ["--check"],
            is_flag=True,
            help="Try all that a start needs, models included, say what was found, and exit.",
        ),
        *map(option, dataclasses.fields(ServerConfig)),
    ],
    context_settings={"max_content_width": 100},
)
