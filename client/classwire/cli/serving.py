"""Commands of the server, such as `classwire serve`, loaded when they run."""

import json
import shlex
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from classwire._version import __version__

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
            missing = (error.name or "").partition(".")[0]
            what = "server is not installed"
            if missing != "classwire_server":
                what = f"server's package {error.name} is missing"
            raise Failure(f"the {what}; {_how_to_install()}") from error
        return command


def _how_to_install() -> str:
    """How to install the server where this client comes from: an index, a checkout or a file."""
    try:
        origin = metadata.distribution("classwire").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        origin = "{}"
    if origin is None:  # pip and uv write it for what comes from anywhere but an index
        return "install it with: pip install 'classwire[server]'"
    url = json.loads(origin).get("url", "")
    checkout = Path(url2pathname(urlsplit(url).path)).parent
    if url.startswith("file:") and (checkout / "requirements.lock").is_file():
        lock, place = map(shlex.quote, (str(checkout / "requirements.lock"), str(checkout)))
        return f"install it with: pip install --constraint {lock} {place}"
    return f"install classwire-server {__version__} from the same place as this client"


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
demo = ServerCommand(
    "demo",
    "classwire_server.cli.demo.command:demo",
    "Show what a server does, on one of its own.",
)
ray = click.Group("ray", help="Run servers on a Ray cluster.")
for _name, _help in {
    "up": "Start servers on a Ray cluster, or replace them.",
    "status": "Show the servers on a Ray cluster.",
    "targets": "Print the servers' addresses, or write the file that Envoy watches.",
    "down": "Drain and stop the servers on a Ray cluster.",
}.items():
    ray.add_command(ServerCommand(_name, f"classwire_server.cli.ray:{_name}", _help))
