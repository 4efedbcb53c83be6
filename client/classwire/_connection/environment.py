"""The client's environment variables, which `from_env` and the command line both read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError

VARIABLES: Mapping[str, str] = {
    "target": "CLASSWIRE_TARGET",
    "timeout_s": "CLASSWIRE_TIMEOUT_S",
    "tls": "CLASSWIRE_TLS",
    "tls_ca": "CLASSWIRE_TLS_CA",
    "tls_cert": "CLASSWIRE_TLS_CLIENT_CERT",
    "tls_key": "CLASSWIRE_TLS_CLIENT_KEY",
    "tls_server_name": "CLASSWIRE_TLS_SERVER_NAME",
    "token": "CLASSWIRE_TOKEN",
    "token_file": "CLASSWIRE_TOKEN_FILE",
    "allow_plaintext_token": "CLASSWIRE_ALLOW_PLAINTEXT_TOKEN",
}
"""The variable of each setting. An empty variable counts as not set."""

_FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


@dataclass(frozen=True)
class Security:
    """The settings that say how a client proves who it is, and how it checks the server."""

    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_server_name: str | None = None
    token_file: str | None = None
    allow_plaintext_token: bool = False
    token: str | None = field(default=None, repr=False)

    def arguments(self) -> dict[str, Any]:
        """The arguments of `Client`. It reads a token's file at each call."""
        from classwire.tls import Tls

        files = (self.tls_ca, self.tls_cert, self.tls_key, self.tls_server_name)
        file = self.token_file
        return {
            "tls": Tls(*files) if self.tls or any(files) else False,
            "token": partial(_token_in, file) if file else self.token or None,
            "allow_plaintext_token": self.allow_plaintext_token,
        }


def arguments_from_env() -> dict[str, Any]:
    """The arguments of `Client` from the environment; InvalidInputError names a wrong variable."""
    given: dict[str, Any] = {
        name: value for name, variable in VARIABLES.items() if (value := os.environ.get(variable))
    }
    arguments = {name: given.pop(name) for name in ("target", "timeout_s") if name in given}
    if "timeout_s" in arguments:
        arguments["timeout_s"] = _number("timeout_s", arguments["timeout_s"])
    for name in ("tls", "allow_plaintext_token"):
        if name in given:
            given[name] = _flag(name, given[name])
    return arguments | Security(**given).arguments()


def _token_in(file: str) -> str:
    """The token in a file. InvalidInputError names the file, and never quotes it."""
    from .credentials import TOKEN

    try:
        token = Path(file).read_text("ascii").strip()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "contains no token: it is not ASCII"
    else:
        if TOKEN.fullmatch(token):
            return token
        problem = f"contains no token: {'it has spaces or lines' if token else 'it is empty'}"
    # Raised outside of the handler, since the UnicodeDecodeError contains the file's bytes.
    raise InvalidInputError(
        f"the token file {file} {problem}", reason=Reason.BAD_OPTION, field="token"
    )


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not number > 0:
        raise _wrong(name, "a positive number")
    return number


def _flag(name: str, value: str) -> bool:
    try:
        return _FLAGS[value.strip().lower()]
    except KeyError:
        raise _wrong(name, f"one of {', '.join(_FLAGS)}") from None


def _wrong(name: str, wanted: str) -> InvalidInputError:
    variable = VARIABLES[name]
    return InvalidInputError(
        f"{variable} must be {wanted}", reason=Reason.BAD_OPTION, field=variable
    )
