"""`classwire serve`: the server's own command, loaded only when it is asked for."""

from typing import Any

import click

from .failures import Failure


def _server_command() -> click.Command:
    try:
        from classwire_server.command import serve
    except ModuleNotFoundError as error:
        install = "install it with: pip install 'classwire[server]'"
        if (error.name or "").partition(".")[0] == "classwire_server":
            raise Failure(f"the server is not installed; {install}") from error
        raise Failure(f"the server's package {error.name} is missing; {install}") from error
    command: click.Command = serve
    return command


class _ServeCommand(click.Command):
    """Stands in the list of commands without importing the server."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse with the server's own command, which then is what runs."""
        return _server_command().make_context(info_name, args, parent, **extra)


serve = _ServeCommand("serve", help="Serve classifiers over gRPC.")
