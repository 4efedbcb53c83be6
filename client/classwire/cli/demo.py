"""`classwire demo`: unary call, batch and stream, on a server of its own."""

import click

from .connection import Connection, connection_options, reworded
from .failures import terminating


@reworded(target="Address of a running server.  [default: a server of the demo's own]")
@click.command()
@click.option("--device", default="", help="Device of the demo's own server; see serve.")
@connection_options
@click.pass_context
def demo(context: click.Context, *, connection: Connection, device: str) -> None:
    """Start a server, make each kind of call, and stop it.

    The server uses its embedded checkpoint. With --target or CLASSWIRE_TARGET, the demo uses the
    server there instead of its own.
    """
    from .rendering import console
    from .showcase import Showcase

    out = console()
    source = context.get_parameter_source("target")
    if source is not click.core.ParameterSource.DEFAULT:
        if device:
            raise click.UsageError("--device is for the demo's own server; omit --target.")
        with connection.open() as client:
            Showcase(client, connection, out).run()
        return

    from .local_server import LocalServer
    from .waiting import elapsed

    with terminating():
        out.print("Starting a server ...")
        with LocalServer(device) as server:
            out.print("Loading the model ...")
            with elapsed("loading the model"):
                server.wait_until_serving()
            own = Connection(server.target, connection.model, connection.timeout_s)
            with own.open() as client:
                Showcase(client, own, out).run()
    out.print(f"Server stopped, exit code {server.exit_code}. Times vary between runs.")
