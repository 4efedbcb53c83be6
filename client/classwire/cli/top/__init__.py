"""`classwire top`: a live view of a server."""

import re
import sys
import time
from typing import TYPE_CHECKING

import click

from classwire.cli.failures import Failure

if TYPE_CHECKING:
    from .metrics import Window

_TARGET = re.compile(
    r"(?:http://)?(\[[\da-f:.]+\]|[^\s:/\[\]]+):(\d+)(?:/|/metrics/?)?", re.IGNORECASE
)


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    """The host and port of a target, which may be the URL of the metrics."""
    found = _TARGET.fullmatch(value)
    if not found or int(found[2]) > 65_535:
        raise click.BadParameter(f"{value!r} must be HOST:PORT, or http://HOST:PORT/metrics.")
    return f"{found[1]}:{found[2]}"


@click.command()
@click.option(
    "--target",
    envvar="CLASSWIRE_METRICS_TARGET",
    default="127.0.0.1:9464",
    callback=_address,
    show_default=True,
    show_envvar=True,
    help="Address of the server's metrics port, as HOST:PORT or http://HOST:PORT/metrics.",
)
@click.option(
    "--interval-s",
    type=click.FloatRange(min=0.1, max=3_600),
    default=2.0,
    show_default=True,
    help="Seconds between views. Each view covers the time since the previous one.",
)
@click.option("--once", is_flag=True, help="Print one view, of one interval, and exit.")
def top(*, target: str, interval_s: float, once: bool) -> None:
    """Watch a server: rate, latency, queue, batches, errors, memory.

    The server needs a metrics port: classwire serve --metrics-port 9464. Ctrl-C ends the view.
    """
    from .metrics import Window, read

    first = read(target)
    try:
        if once:
            time.sleep(interval_s)
            _print(Window(first, read(target)), target)
        else:
            _watch(Window(first, first), target, interval_s)
    except KeyboardInterrupt:
        if once:
            raise


def _watch(window: "Window", target: str, interval_s: float) -> None:
    """Draw views until interrupted: in place on a terminal, else one below the other."""
    from rich.live import Live

    from classwire.cli.rendering import console

    from .metrics import Window, read
    from .view import view

    out = console()
    if not out.is_interactive:
        while True:
            time.sleep(interval_s)
            window = Window(window.now, read(target))
            _print(window, target)
    with Live(
        view(window, target, *out.size), console=out, screen=True, auto_refresh=False
    ) as live:
        while True:
            time.sleep(interval_s)
            missing = ""
            try:
                window = Window(window.now, read(target))
            except Failure:  # it may come back
                missing = f"no answer from {target}; these are its last values"
            live.update(view(window, target, *out.size, missing), refresh=True)


def _print(window: "Window", target: str) -> None:
    from classwire.cli.rendering import console

    from .view import view

    out = console()
    out.print(view(window, target, out.width))
    out.print()
    sys.stdout.flush()
