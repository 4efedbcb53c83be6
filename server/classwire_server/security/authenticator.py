"""Who a caller is, by what its call shows."""

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
"""Compared with where there is no caller of that name, so that it takes as long."""


LOOK_S = 1.0
"""How often a call that lasts is looked at: whether its caller is still known."""


@dataclass(frozen=True, eq=False)
class Principal:
    """A call that was let in. `is_over` says whether it would not be any more; it is to be asked
    every `look_s` seconds.
    """

    caller: Caller
    is_over: Callable[[], bool]
    look_s: float = LOOK_S


OPEN = Principal(ANYBODY, lambda: False, math.inf)
"""Where nobody is asked who calls."""


class Authenticator:
    """Knows the callers in a file, which is looked at for each call. Safe for use by any thread."""

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
        """Of all callers, in the order of the file."""
        return tuple(self._callers.current())

    def by_token(self, token: str) -> Principal:
        """Who shows a token. Raises RequestError BAD_CREDENTIALS."""
        name = name_in(token) if len(token) <= LONGEST_TOKEN else None
        caller = self._callers.current().get(name or "")

        def shown_to(caller: Caller | None) -> bool:
            hashes = (caller.tokens if caller is not None else ()) or (_NOBODYS_HASH,)
            return any(is_hash_of(each, token) for each in hashes)

        if not shown_to(caller) or caller is None:
            raise bad_credentials()
        return self._admission(caller, shown_to)

    def by_certificate(self, names: Iterable[str]) -> Principal:
        """Who shows a certificate, which TLS has verified, of these names.

        Raises RequestError NOT_ALLOWED.
        """
        shown = frozenset(names)
        for caller in self._callers.current().values():
            if not shown.isdisjoint(caller.certificates):
                return self._admission(caller, lambda now: not shown.isdisjoint(now.certificates))
        raise RequestError(Reason.NOT_ALLOWED, "the certificate is not that of a caller")

    def _admission(self, caller: Caller, still: Callable[[Caller], bool]) -> Principal:
        def is_over() -> bool:
            now = self._callers.current().get(caller.name)
            return now is None or not still(now)

        return Principal(caller, is_over)


def bad_credentials() -> RequestError:
    """What a call shows is not known, or not any more."""
    return RequestError(Reason.BAD_CREDENTIALS, "the credentials are not known")


def missing_credentials() -> RequestError:
    """A call shows nothing."""
    return RequestError(
        Reason.MISSING_CREDENTIALS, "the call has no credentials (authorization: Bearer TOKEN)"
    )
