"""`classwire demo`: options, and the server of the demo's own."""

import shlex
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import click

from classwire.cli.connection import Connection, connection_options, reworded
from classwire.cli.failures import terminating

OWN_SENTENCE = "A bit late, but I love it."


@reworded(target="Address of a running server.  [default: a server of the demo's own]")
@click.command()
@click.option("--device", default="", help="Device of the demo's own server; see serve.")
@click.option(
    "--plain",
    is_flag=True,
    help="Write no colours and change no line.  [default: where standard output is no terminal, "
    "TERM is dumb or NO_COLOR is set]",
)
@connection_options
@click.pass_context
def demo(context: click.Context, *, connection: Connection, device: str, plain: bool) -> None:
    """Show what a server does: stages, windows, a stream, a crash.

    Starts a server with the embedded checkpoint, classifies a text stage by stage, a batch, a long
    text in windows and a stream of 500 reviews, and stops the server. It kills the model's process
    in the middle of the stream.

    With --target or CLASSWIRE_TARGET, the demo uses the server there, and kills nothing.
    """
    from .screen import Screen, must_be_plain

    screen = Screen(is_plain=plain or must_be_plain())
    source = context.get_parameter_source("target")
    if source is not click.core.ParameterSource.DEFAULT:
        if device:
            raise click.UsageError("--device is for the demo's own server; omit --target.")
        from .show import Show

        with connection.open() as client:
            Show(client, connection, screen).run()
        return

    from classwire.cli.waiting import elapsed

    from .local_server import LocalServer

    started_s = time.monotonic()
    with terminating(at_hang_up=True):
        screen.say("Starting a server ...")
        with LocalServer(device) as server:
            with nullcontext() if screen.is_plain else elapsed("importing torch, loading a model"):
                from .show import Show  # and gRPC, while the server imports torch

                server.wait_until_serving()
            screen.say(f"It serves after {time.monotonic() - started_s:.1f} s.")
            own = Connection(server.target, connection.model, connection.timeout_s)
            with own.open() as client:
                Show(client, own, screen, server.pid).run()
    screen.say("")
    took_s = time.monotonic() - started_s
    screen.say(
        f"Server stopped, exit code {server.exit_code}. Every figure is of this run, which took "
        f"{took_s:.1f} s."
    )
    screen.chapter("Next: a sentence of your own", "Serve the model; ask it in a second terminal.")
    program = _program()
    screen.commands(f"{program} serve", f'{program} classify "{OWN_SENTENCE}"')


def _program() -> str:
    """How the user of this shell calls `classwire`."""
    if shutil.which("classwire"):
        return "classwire"
    called = Path(sys.argv[0])
    return shlex.quote(str(called)) if called.name == "classwire" else "python -m classwire"
