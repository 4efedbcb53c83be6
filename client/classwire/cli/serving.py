"""`classwire serve`, `compile` and `doctor`: the server's own commands, loaded when asked for."""

from importlib import import_module
from typing import Any

import click

from .failures import Failure


class _ServerCommand(click.Command):
    """Stands in the list of commands without importing the server.

    `place` is where the server has the command itself, as in "module:name".
    """

    def __init__(self, name: str, place: str, help: str) -> None:
        super().__init__(name, help=help)
        self._place = place

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse with the server's own command, which then is what runs."""
        return self._own().make_context(info_name, args, parent, **extra)

    def _own(self) -> click.Command:
        module, _, name = self._place.partition(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            install = "install it with: pip install 'classwire[server]'"
            if (error.name or "").partition(".")[0] == "classwire_server":
                raise Failure(f"the server is not installed; {install}") from error
            raise Failure(f"the server's package {error.name} is missing; {install}") from error
        return command


serve = _ServerCommand("serve", "classwire_server.cli.serve:serve", "Serve classifiers over gRPC.")
compile_ = _ServerCommand(
    "compile",
    "classwire_server.cli.compile:compile_",
    "Compile models beforehand, for `serve --compile`.",
)
doctor = _ServerCommand(
    "doctor",
    "classwire_server.cli.doctor.command:doctor",
    "Say what this machine has for a server, and what it would choose.",
)
