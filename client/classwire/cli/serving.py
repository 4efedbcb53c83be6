"""`classwire serve`, `compile` and `doctor`: commands of the server, loaded when they run."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from .failures import Failure


class ServerCommand(click.Command):
    """A command of the server in the list of commands, without an import of the server.

    `place` is the server's own command, as "module:name".
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
        """Parse with the server's own command, which then runs.

        Without the server, the completion of a shell gets this command, so that it does not fail.
        """
        if extra.get("resilient_parsing") and find_spec("classwire_server") is None:
            return super().make_context(info_name, args, parent, **extra)
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> click.Command:
        """The server's own command. Raises Failure if the server is not installed."""
        module, _, name = self._place.partition(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            install = (
                "install it with: pip install 'classwire[server]', or in a checkout: pip install ."
            )
            if (error.name or "").partition(".")[0] == "classwire_server":
                raise Failure(f"the server is not installed; {install}") from error
            raise Failure(f"the server's package {error.name} is missing; {install}") from error
        return command


serve = ServerCommand("serve", "classwire_server.cli.serve:serve", "Serve classifiers over gRPC.")
compile_ = ServerCommand(
    "compile",
    "classwire_server.cli.compile:compile_",
    "Compile models ahead of time, for `serve --compile`.",
)
doctor = ServerCommand(
    "doctor",
    "classwire_server.cli.doctor.command:doctor",
    "Show what this machine offers, and what a server would choose.",
)
