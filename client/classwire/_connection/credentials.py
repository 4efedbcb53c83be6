"""The credentials of a client, and the check that no one else can read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import grpc

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.tls import Tls

from .metadata import Pairs

Token: TypeAlias = str | Callable[[], str]

TOKEN = re.compile(r"[!-~]+")
"""What a header can carry as a token."""


class Credentials:
    """The credentials of a channel and of each call on it.

    Raises InvalidInputError for both `tls` and `credentials`.
    """

    def __init__(
        self,
        tls: bool | Tls,
        credentials: grpc.ChannelCredentials | None,
        token: Token | None,
        allow_plaintext_token: bool,
    ) -> None:
        if tls and credentials is not None:
            raise _wrong("tls and credentials exclude each other", "tls")
        settings = Tls() if tls is True else tls or None
        self.channel = settings.credentials() if settings else credentials
        self.options = settings.options if settings else []
        self.has_certificate = settings is not None and settings.cert is not None
        self._token = token
        self._is_private = token is None or allow_plaintext_token or self.channel is not None

    def check(self, target: str) -> None:
        """Raise InvalidInputError if others could read the token, unless that is allowed."""
        if not self._is_private and not target.startswith(("unix:", "unix-abstract:")):
            raise _wrong(
                "without TLS others could read the token: use tls=True, or "
                "allow_plaintext_token=True on a network where nobody can listen",
                "token",
            )

    def metadata(self) -> Pairs:
        """The metadata with the token of a call; it runs a token that is a function."""
        if self._token is None:
            return ()
        token = (self._token() if callable(self._token) else self._token).strip()
        if not TOKEN.fullmatch(token):
            problem = "has spaces, or characters other than ASCII" if token else "is empty"
            raise _wrong(f"the token {problem}", "token")
        return (("authorization", f"Bearer {token}"),)


def _wrong(message: str, field: str) -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_OPTION, field=field)
