"""Which server a command talks to, and what it says when none is there."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from .credentials import CREDENTIAL_OPTIONS, Credentials, credential_options
from .failures import Failure, WrongUse

if TYPE_CHECKING:
    from .. import Client


DEFAULT_TIMEOUT_S = 30.0
DEFAULT_ITEM_TIMEOUT_S = 600.0
"""A stream keeps the server's window full: on a slow machine a text waits long for its turn."""


@dataclass(frozen=True)
class Connection:
    """The options that every client command has."""

    target: str
    """Address of the server, as gRPC understands it."""
    model: str
    """Name of the model; empty means the server's default."""
    timeout_s: float | None
    """How long a call, a text of a stream, or the return of a server may take in seconds; None
    means the defaults.
    """
    credentials: Credentials = field(default_factory=Credentials)
    """Who calls."""

    @property
    def call_timeout_s(self) -> float:
        """How long a call may take, in seconds."""
        return self.timeout_s or DEFAULT_TIMEOUT_S

    @property
    def item_timeout_s(self) -> float:
        """How long a text of a stream may take, in seconds."""
        return self.timeout_s or DEFAULT_ITEM_TIMEOUT_S

    @contextmanager
    def open(self, *, contact: bool = True) -> Iterator["Client"]:
        """Yield a client; raises Failure without a server, WrongUse without the model.

        A server that goes away is waited for, but one that is not there at first is said at once,
        unless `contact` is left to the caller.
        """
        from .. import (
            Client,
            DeadlineExceeded,
            InvalidInput,
            Unavailable,
            Unimplemented,
            UnknownModel,
        )

        shown = self.credentials.arguments()
        try:
            opened = Client(self.target, timeout_s=self.call_timeout_s, **shown)
        except InvalidInput as error:
            if error.field != "token":
                raise WrongUse(error.message) from error
            raise WrongUse(
                "without TLS others could read the token: give --tls, or --allow-plaintext-token "
                "where nobody can listen"
            ) from error
        with opened as client:
            try:
                if contact:
                    with suppress(Unimplemented):  # somebody is there
                        client.health()
                yield client
            except Unavailable as error:
                # A server did answer, and says why it cannot serve now, or speaks otherwise.
                if error.reason or "TLS" in error.message:
                    raise
                raise Failure(
                    f"no server answers at {self.target}; start one with `classwire serve`"
                ) from error
            except DeadlineExceeded as error:
                if error.reason or self.target in error.message:  # says more than gRPC would
                    raise
                raise Failure(
                    f"no answer from {self.target} within {self.call_timeout_s:g} s (--timeout-s)"
                ) from error
            except UnknownModel as error:
                raise WrongUse(
                    f"no model named {self.model!r}; `classwire models` lists them"
                ) from error


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --target, --model, --timeout-s and those of credentials; pass them on as `connection`."""

    @click.option(
        "--target",
        envvar="CLASSWIRE_TARGET",
        default="127.0.0.1:50051",
        show_default=True,
        show_envvar=True,
        help="Address of the server.",
    )
    @click.option("--model", default="", metavar="NAME", help="Model, if not the server's default.")
    @click.option(
        "--timeout-s",
        type=click.FloatRange(min=0, min_open=True),
        help="Longest time for a call, for a text of a stream, and for a server that went away to "
        "come back, in seconds.  "
        f"[default: {DEFAULT_TIMEOUT_S:g}, for a text of a stream {DEFAULT_ITEM_TIMEOUT_S:g}]",
    )
    @credential_options
    @functools.wraps(command)
    def with_connection(*, target: str, model: str, timeout_s: float | None, **others: Any) -> None:
        if not target:
            raise click.UsageError("--target is empty.")
        shown = {name: others.pop(name) for name in CREDENTIAL_OPTIONS}
        credentials = Credentials(**shown, token=os.environ.get("CLASSWIRE_TOKEN"))
        command(connection=Connection(target, model, timeout_s, credentials), **others)

    return with_connection
