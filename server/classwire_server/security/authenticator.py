"""Authenticates callers by token or certificate."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from classwire.contract.reasons import Reason
from classwire.contract.tokens import LONGEST_TOKEN, hash_of, is_hash_of, name_in, new_token
from classwire_server.config.security import SecuritySettings
from classwire_server.errors import RequestError

from .callers import ANYBODY, Caller, Callers, read_callers
from .reloading import ReloadingFiles

_NOBODYS_HASH = hash_of(new_token("nobody"))
"""Compared if there is no caller of that name, so that the check takes equally long."""


LOOK_S = 1.0
"""How often a long call checks that its caller is still known."""


@dataclass(frozen=True, eq=False)
class Principal:
    """The authenticated caller of a call.

    `is_over` returns whether the credentials are no longer valid. Long calls ask it every `look_s`
    seconds.
    """

    caller: Caller
    is_over: Callable[[], bool]
    look_s: float = LOOK_S


OPEN = Principal(ANYBODY, lambda: False, math.inf)
"""The principal of every call if the server has no callers file."""


class Authenticator:
    """Finds callers in a file, which it reloads when it changes. Safe for use by any thread."""

    def __init__(self, settings: SecuritySettings) -> None:
        path = settings.callers
        self.knows_certificates = bool(settings.tls_client_ca)
        self._last: Callers = {}

        def read() -> Callers:
            self._last = read_callers(
                path, with_certificates=self.knows_certificates, before=self._last
            )
            return self._last

        self._callers = ReloadingFiles([path], read)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all callers, in the order of the file."""
        return tuple(self._callers.current())

    def by_token(self, token: str) -> Principal:
        """Return the principal with this token. Raises RequestError BAD_CREDENTIALS."""
        name = name_in(token) if len(token) <= LONGEST_TOKEN else None
        caller = self._callers.current().get(name or "")

        def has_token(caller: Caller | None) -> bool:
            hashes = (caller.tokens if caller is not None else ()) or (_NOBODYS_HASH,)
            return any(is_hash_of(each, token) for each in hashes)

        if not has_token(caller) or caller is None:
            raise bad_credentials()
        return self._principal(caller, has_token)

    def by_certificate(self, names: Iterable[str]) -> Principal:
        """Return the principal whose certificate has one of these names. TLS has verified it.

        Raises RequestError NOT_ALLOWED.
        """
        presented = frozenset(names)
        for caller in self._callers.current().values():
            if not presented.isdisjoint(caller.certificates):
                return self._principal(
                    caller, lambda now: not presented.isdisjoint(now.certificates)
                )
        raise RequestError(Reason.NOT_ALLOWED, "the certificate is not that of a caller")

    def _principal(self, caller: Caller, is_valid: Callable[[Caller], bool]) -> Principal:
        def is_over() -> bool:
            now = self._callers.current().get(caller.name)
            return now is None or not is_valid(now)

        return Principal(caller, is_over)


def bad_credentials() -> RequestError:
    """Return the error for credentials that are not valid, or no longer valid."""
    return RequestError(Reason.BAD_CREDENTIALS, "the credentials are not known")


def missing_credentials() -> RequestError:
    """Return the error for a call without credentials."""
    return RequestError(
        Reason.MISSING_CREDENTIALS, "the call has no credentials (authorization: Bearer TOKEN)"
    )
