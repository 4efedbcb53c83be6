"""`classwire demo`: the reference job by unary call, batch and stream, on a server of its own."""

import signal
import sys
from types import FrameType

import click

from .connection import Connection, connection_options


@click.command()
@click.option("--device", default="", help="Device of the demo's own server, as for serve.")
@connection_options
@click.pass_context
def demo(context: click.Context, *, connection: Connection, device: str) -> None:
    """Classify by unary call, batch and stream on a server of its own.

    The server is started with the checkpoint that comes with it, and stopped at the end. With
    --target (or CLASSWIRE_TARGET) the server that runs there is used instead.
    """
    from .rendering import console
    from .showcase import Showcase

    out = console()
    source = context.get_parameter_source("target")
    if source is not click.core.ParameterSource.DEFAULT:
        if device:
            raise click.UsageError("--device is for the demo's own server; --target names another.")
        with connection.open() as client:
            Showcase(client, connection, out).run()
        return

    from .local_server import LocalServer

    def terminated(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)  # unwinds, so that the server below is stopped

    signal.signal(signal.SIGTERM, terminated)
    out.print("Starting a server of the demo's own ...")
    with LocalServer(device) as server:
        own = Connection(server.target, connection.model, connection.timeout_s)
        with own.open() as client:
            Showcase(client, own, out).run()
    out.print(f"Server stopped, exit code {server.exit_code}. Times vary, from run to run too.")
