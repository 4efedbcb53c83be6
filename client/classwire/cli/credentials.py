"""The options by which a command proves who it is, and checks the server."""

import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from classwire._environment import VARIABLES, Security

from .failures import WrongUse

_FILE = click.Path(exists=True, dir_okay=False)
# No option holds a token itself: other users of the machine see the command line.
_OPTIONS = tuple(each.name for each in fields(Security) if each.name != "token")


def security_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Security`."""
    for option in reversed(
        (
            _option("tls", is_flag=True, help="Use TLS. Every other --tls- option implies it."),
            _option(
                "tls_ca",
                type=_FILE,
                help="Certificate authorities to trust (PEM).  [default: gRPC's own list]",
            ),
            _option(
                "tls_cert", type=_FILE, help="Own certificate, for servers that require one (PEM)."
            ),
            _option("tls_key", type=_FILE, help="Private key of --tls-cert (PEM)."),
            _option(
                "tls_server_name",
                metavar="NAME",
                help="Name in the server's certificate, if it is not the host of --target.",
            ),
            _option(
                "token_file",
                type=_FILE,
                help="File with the token to send. Or set CLASSWIRE_TOKEN to the token itself.",
            ),
            _option(
                "allow_plaintext_token",
                is_flag=True,
                help="Send the token without TLS, where others may read it.",
            ),
        )
    ):
        command = option(command)
    return command


def security_of(options: dict[str, Any]) -> Security:
    """Take the options of `Security` out of a command's.

    Raises WrongUse for a certificate without its key, or a key without its certificate.
    """
    shown = {name: options.pop(name) for name in _OPTIONS}
    security = Security(**shown, token=os.environ.get(VARIABLES["token"]))
    if (security.tls_cert is None) is not (security.tls_key is None):
        raise WrongUse("--tls-cert and --tls-key go together")
    return security


def _option(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    flag = "--" + name.replace("_", "-")
    return click.option(flag, envvar=VARIABLES[name], show_envvar=True, **settings)
