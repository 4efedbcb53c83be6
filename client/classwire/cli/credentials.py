"""The options by which a command proves who it is, and checks the server."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from classwire._connection.environment import VARIABLES, Security

from .failures import Failure, WrongUse, one_line

if TYPE_CHECKING:
    from classwire import ClasswireError

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


@contextmanager
def settings_named(security: Security) -> Iterator[None]:
    """Turn an error about a setting of the connection into one that names option and variable.

    Raises WrongUse or Failure.
    """
    from classwire import ClasswireError, InvalidInputError

    try:
        yield
    except ClasswireError as error:
        setting = _setting_of(error, security)
        if setting is None:
            raise
        message = f"{one_line(error.message)} ({setting})"
        if "allow_plaintext_token" in message:
            message = (
                "without TLS others could read the token: use --tls, or --allow-plaintext-token "
                "on a network where nobody can listen"
            )
        kind = WrongUse if isinstance(error, InvalidInputError) else Failure
        raise kind(message) from error


def _setting_of(error: "ClasswireError", security: Security) -> str | None:
    """The setting that an error is about, if it is one of the connection."""
    from classwire import PermissionDeniedError, UnauthenticatedError

    field = error.field
    if isinstance(error, UnauthenticatedError | PermissionDeniedError):
        has_token = security.token or security.token_file or not security.tls_cert
        field = "token" if has_token else "tls.cert"
    if field == "target":
        return "--target"
    if field == "token":
        return f"{_named('token_file')}, or {VARIABLES['token']}"
    name = (field or "").replace(".", "_")
    return _named(name) if name in _OPTIONS else None


def _named(name: str) -> str:
    return f"{_flag(name)} or {VARIABLES[name]}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(_flag(name), envvar=VARIABLES[name], show_envvar=True, **settings)
