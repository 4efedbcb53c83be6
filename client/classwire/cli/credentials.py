"""The options by which a command shows who calls, and makes sure of whom it talks to."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import WrongUse

if TYPE_CHECKING:
    from .. import Tls

_FILE = click.Path(exists=True, dir_okay=False)


@dataclass(frozen=True)
class Credentials:
    """What the options say. A token is never one of them: other users see the command line."""

    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_server_name: str = ""
    token_file: str | None = None
    allow_plaintext_token: bool = False
    token: str | None = field(default=None, repr=False)

    def arguments(self) -> dict[str, Any]:
        """Those of `Client`. Raises WrongUse for a certificate without its key, or the reverse."""
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise WrongUse("--tls-cert and --tls-key go together")
        token = Path(self.token_file).read_text().strip() if self.token_file else self.token
        return {
            "tls": self._tls() or False,
            "token": token or None,
            "allow_plaintext_token": self.allow_plaintext_token,
        }

    def _tls(self) -> "Tls | None":
        from .. import Tls

        wanted = (self.tls_ca, self.tls_cert, self.tls_key, self.tls_server_name)
        return Tls(*wanted) if self.tls or any(wanted) else None


CREDENTIAL_OPTIONS = tuple(each.name for each in fields(Credentials) if each.name != "token")


def credential_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Credentials`."""
    options = (
        click.option(
            "--tls",
            is_flag=True,
            envvar="CLASSWIRE_TLS",
            show_envvar=True,
            help="Talk TLS; as every other --tls- option says, too.",
        ),
        click.option(
            "--tls-ca",
            type=_FILE,
            envvar="CLASSWIRE_TLS_CA",
            show_envvar=True,
            help="Certificate authorities to trust (PEM).  [default: those that come with gRPC]",
        ),
        click.option(
            "--tls-cert",
            type=_FILE,
            envvar="CLASSWIRE_CLIENT_CERT",
            show_envvar=True,
            help="Own certificate, for servers that ask for one (PEM).",
        ),
        click.option(
            "--tls-key",
            type=_FILE,
            envvar="CLASSWIRE_CLIENT_KEY",
            show_envvar=True,
            help="Private key of --tls-cert (PEM).",
        ),
        click.option(
            "--tls-server-name",
            default="",
            metavar="NAME",
            help="Name in the server's certificate, if not the host of --target.",
        ),
        click.option(
            "--token-file",
            type=_FILE,
            envvar="CLASSWIRE_TOKEN_FILE",
            show_envvar=True,
            help="File that holds the token to show; or CLASSWIRE_TOKEN holds the token itself.",
        ),
        click.option(
            "--allow-plaintext-token",
            is_flag=True,
            help="Send the token without TLS, where others may read it.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
