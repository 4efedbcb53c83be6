"""`classwire ray`: servers on a Ray cluster."""

import dataclasses
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from classwire.escaping import visible
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.cores import divide
from classwire_server.errors import ConfigError, StartError, telling_line

from .options import SettingsCommand

OF_EACH_REPLICA = (
    *("host", "port", "unix_socket", "metrics_host", "metrics_port"),
    *("admin_host", "admin_port"),
)
"""Settings that `up` does not take: several servers of a node would have the same value."""
WATCH_S = 1.0
ANNOUNCED_S = 60.0
"""How long servers that run may take to tell their addresses."""
ADDRESS = click.Option(
    ["--address"],
    default="auto",
    show_default=True,
    help="Address of the Ray cluster. auto: the one that this node belongs to.",
)


def _up(
    address: str,
    replicas: int,
    max_replicas: int | None,
    cpus: float,
    gpus: float,
    **flags: Any,
) -> None:
    """Start servers on a Ray cluster, or replace those that run, and wait until they are ready.

    Each server is a `classwire serve` on a free port of its node, and takes the settings below. It
    listens on the node's address, so it needs TLS or --insecure, unless that is a loopback address.
    Folders and files must be at the same path on every node.

    With --max-replicas, servers are added while texts are queued for more than 0.1 s, and removed
    when they are hardly queued. A second `up` replaces all servers, one after the other.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    with _reported("up"):
        if max_replicas is not None and max_replicas < replicas:
            raise ConfigError("max_replicas", f"{max_replicas} is less than --replicas {replicas}")
        config = ServerConfig(**given)
        if not gpus:  # the node may have more cores than Ray reserves
            division = divide(max(1, math.ceil(cpus)), config.lanes, config.threads)
            given |= {"lanes": division.lanes, "threads": division.threads}
        with _connected(address):
            from classwire_server.ray import Fleet, Scaling, targets, up

            scaling = Scaling(max_replicas) if max_replicas is not None else None
            arguments = tuple(_arguments(given))
            up(Fleet(replicas, arguments, scaling, cpus, gpus, config.drain_timeout_s))
            until_s = time.monotonic() + ANNOUNCED_S
            while (found := targets()) is None or len(found) < replicas:
                if time.monotonic() > until_s:
                    raise TimeoutError("the servers run, but have not told their addresses")
                threading.Event().wait(WATCH_S)
            print("\n".join(found), flush=True)


def _status(address: str) -> None:
    """Show how many servers are in which state of Ray Serve, and the addresses of the ready ones.

    Exits with 1 if no server is ready.
    """
    with _reported("status"), _connected(address):
        from classwire_server.ray import replica_states, targets

        ready = targets() or []
        print(", ".join(f"{count} {state}" for state, count in replica_states().items() if count))
        print("\n".join(ready), flush=True)
    if not ready:
        raise click.exceptions.Exit(1)


def _targets(address: str, file: str | None, watch: bool) -> None:
    """Print the addresses of the ready servers, one on each line.

    With --file it writes the file that Envoy watches (deploy/envoy/replicas.yaml). With --watch it
    goes on until it is stopped, and writes the file again whenever the servers change.
    """
    with _reported("targets"), _connected(address):
        from classwire_server.ray import targets
        from classwire_server.ray.envoy import write_replicas

        last: list[str] | None = None
        while True:
            try:
                found = targets()
                if found is not None and found != last:
                    if file is not None:
                        write_replicas(Path(file), found)
                    print("\n".join(found), flush=True)
                    last = found
            except (RuntimeError, TimeoutError) as error:  # the last file stays
                if not watch:
                    raise
                print(f"classwire ray targets: {telling_line(error)}", file=sys.stderr)
            if last is not None and not watch:
                return
            threading.Event().wait(WATCH_S)


def _down(address: str) -> None:
    """Drain and stop the servers on a Ray cluster."""
    with _reported("down"), _connected(address):
        from classwire_server.ray import down

        down()


def _arguments(given: Mapping[str, Any]) -> Iterator[str]:
    """Settings as options of `classwire serve`."""
    for name, value in sorted(given.items()):
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
            continue
        for each in value if isinstance(value, tuple) else (value,):
            yield from (f"--{flag}", str(each))


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a Ray cluster until the end of the block."""
    if find_spec("ray") is None:
        raise StartError("Ray is not installed: pip install 'classwire-server[ray]'")
    import ray
    import ray.serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="WARNING")
    except ConnectionError as error:
        raise StartError(f"no Ray cluster at {address}: start one with `ray start`") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _reported(command: str) -> Iterator[None]:
    """Print an error as one line, and exit: with 2 for a wrong setting, else with 1."""
    try:
        yield
    except (StartError, RuntimeError, OSError) as error:  # a TimeoutError is an OSError
        print(f"classwire ray {command}: {visible(telling_line(error))}", file=sys.stderr)
        raise click.exceptions.Exit(2 if isinstance(error, ConfigError) else 1) from None


def _command(name: str, callback: Callable[..., None], *options: click.Option) -> click.Command:
    return click.Command(
        name,
        callback=callback,
        help=callback.__doc__,
        params=[ADDRESS, *options],
        context_settings={"max_content_width": 100},
    )


up = SettingsCommand(
    "up",
    _up,
    own=[
        ADDRESS,
        click.Option(
            ["--replicas"],
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Number of servers.",
        ),
        click.Option(
            ["--max-replicas"],
            type=click.IntRange(min=1),
            help="Let the number of servers follow the load, between --replicas and this.",
        ),
        click.Option(
            ["--cpus"],
            type=click.FloatRange(min=0),
            default=1.0,
            show_default=True,
            help="Cores of a node that Ray reserves for each server.",
        ),
        click.Option(
            ["--gpus"],
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="GPUs of a node that Ray assigns to each server.",
        ),
    ],
    settings=[
        field.name
        for field in dataclasses.fields(ServerConfig)
        if field.name not in OF_EACH_REPLICA
    ],
)
status = _command("status", _status)
targets = _command(
    "targets",
    _targets,
    click.Option(["--file"], metavar="FILE", help="Write the file that Envoy watches."),
    click.Option(["--watch"], is_flag=True, help="Go on until interrupted."),
)
down = _command("down", _down)
