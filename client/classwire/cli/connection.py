"""The server that a command talks to, and the command's message if no server answers."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from classwire._connection.environment import VARIABLES, Security

from .credentials import security_of, security_options, settings_named
from .failures import Failure, WrongUse, described

if TYPE_CHECKING:
    from classwire import Client


DEFAULT_TIMEOUT_S = 30.0
DEFAULT_ITEM_TIMEOUT_S = 600.0
"""Longer than a call's: a stream keeps the server's window full, so on a slow machine a text may
wait for a long time.
"""


@dataclass(frozen=True)
class Connection:
    """The options that every client command has."""

    target: str
    """Address of the server, as gRPC understands it."""
    model: str | None
    """Name of the model; None means the server's default."""
    timeout_s: float | None
    """Timeout in seconds of each call, or of each text of a stream; None means the defaults."""
    security: Security = field(default_factory=Security)

    @property
    def call_timeout_s(self) -> float:
        """How long a call may take, in seconds."""
        return self.timeout_s or DEFAULT_TIMEOUT_S

    @property
    def item_timeout_s(self) -> float:
        """How long a text of a stream may take, in seconds."""
        return self.timeout_s or DEFAULT_ITEM_TIMEOUT_S

    @contextmanager
    def open(self, *, contact: bool = True, patience_s: float | None = None) -> Iterator["Client"]:
        """Yield a client. Raises Failure if no server answers, WrongUse for an unknown model.

        The client waits for a server that goes away, `patience_s` or else the timeout of a call.
        With `contact` the command fails at once if no server answers at first.
        """
        timeout_s = patience_s or self.call_timeout_s
        is_patient = False
        from classwire import (
            Client,
            DeadlineExceededError,
            Reason,
            UnavailableError,
            UnimplementedError,
            UnknownModelError,
        )

        with (
            settings_named(self.security),
            Client(self.target, timeout_s=timeout_s, **self.security.arguments()) as client,
        ):
            try:
                if contact:
                    with suppress(UnimplementedError):  # a server is there
                        client.health(timeout_s=self.call_timeout_s)
                is_patient = patience_s is not None
                yield client
            except DeadlineExceededError as error:
                if error.reason or self.target in error.message:  # the message explains it
                    raise
                within_s = timeout_s if is_patient else self.call_timeout_s
                raise Failure(
                    f"no answer from {self.target} within {within_s:g} s (--timeout-s)"
                ) from error
            except UnavailableError as error:
                if not is_patient:
                    raise
                why = "loading" if error.reason == Reason.LOADING else "away"
                raise Failure(
                    f"{described(error)}; the server was {why} for {timeout_s:g} s (--timeout-s)"
                ) from error
            except UnknownModelError as error:
                if self.model is None:  # the server's message says which there are
                    raise
                raise WrongUse(
                    f"no model named {self.model!r}; `classwire models` lists them"
                ) from error


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --target, --model, --timeout-s and the security options; pass them as `connection`."""

    @click.option(
        "--target",
        envvar=VARIABLES["target"],
        default="127.0.0.1:50051",
        show_default=True,
        show_envvar=True,
        help="Address of the server.",
    )
    @click.option("--model", metavar="NAME", help="Model to use.  [default: the server's default]")
    @click.option(
        "--timeout-s",
        envvar=VARIABLES["timeout_s"],
        show_envvar=True,
        type=click.FloatRange(min=0, min_open=True),
        help="Timeout in seconds of each call, or of each text of a stream; also how long the "
        "command waits for a server that goes away.  "
        f"[default: {DEFAULT_TIMEOUT_S:g}; for files and streams {DEFAULT_ITEM_TIMEOUT_S:g}]",
    )
    @security_options
    @functools.wraps(command)
    def with_connection(
        *, target: str, model: str | None, timeout_s: float | None, **others: Any
    ) -> None:
        if not target:
            raise click.UsageError("--target is empty.")
        security = security_of(others)
        command(connection=Connection(target, model or None, timeout_s, security), **others)

    return with_connection


def reworded(**helps: str) -> Callable[[click.Command], click.Command]:
    """Give options of `connection_options` another help, which names the default itself."""

    def reword(command: click.Command) -> click.Command:
        for option in command.params:
            if isinstance(option, click.Option) and option.name in helps:
                option.help, option.show_default = helps[option.name], False
        return command

    return reword
