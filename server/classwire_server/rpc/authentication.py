"""Authentication of calls to every service of the port, before anything else."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import grpc

from classwire_server.errors import RequestError
from classwire_server.security.authenticator import (
    Authenticator,
    Principal,
    bad_credentials,
    missing_credentials,
)

from .call import PRINCIPAL
from .call_executor import CallExecutor
from .call_record import RECORD
from .interceptor import Behavior, Handler, around
from .rejection import WireStatus, end


class AuthenticationInterceptor(grpc.ServerInterceptor):
    """Rejects calls that `authenticator` does not authenticate, except to what is open.

    `opened` names services, and methods as `package.Service/Method`.

    gRPC's own thread checks tokens, so a call with a bad token, or none, never takes a thread of a
    pool. Certificates are visible only on the thread that serves the call.
    """

    def __init__(
        self, authenticator: Authenticator, opened: Collection[str], executor: CallExecutor
    ) -> None:
        self._authenticator = authenticator
        self._open = frozenset(opened)
        self._executor = executor

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of a call, or one that rejects it."""
        details: Any = handler_call_details
        method = details.method.removeprefix("/")
        if method in self._open or method.partition("/")[0] in self._open:
            return continuation(details)
        try:
            token = _token(details.invocation_metadata or ())
            principal = self._authenticator.by_token(token) if token else None
            if principal is None and not self._authenticator.knows_certificates:
                raise missing_credentials()
        except RequestError as failure:
            return self._executor.reject_with(WireStatus.of(failure))
        if principal is not None:
            _set_principal(principal)
            return continuation(details)
        handler = continuation(details)
        return handler and around(handler, self._with_certificate)

    def _with_certificate(self, behavior: Behavior) -> Behavior:
        """A behavior that first authenticates the caller by its certificate."""

        def authenticated(request: Any, context: grpc.ServicerContext, *send: Any) -> Any:
            try:
                principal = self._authenticator.by_certificate(_names(context))
            except RequestError as failure:
                end(context, failure)
                raise
            _set_principal(principal)
            return behavior(request, context, *send)

        return authenticated


def _set_principal(principal: Principal) -> None:
    """Store the caller of the current call in its context."""
    PRINCIPAL.set(principal)
    if (record := RECORD.get()) is not None:
        record.caller = principal.caller.name


def _token(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    """The bearer token of a call, or None. Raises RequestError BAD_CREDENTIALS when malformed."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token:
        raise bad_credentials()
    return token


def _names(context: grpc.ServicerContext) -> frozenset[str]:
    # Imported here: see _certificates in server.py.
    from classwire_server.security.certificate_names import names_in

    properties: Any = context.auth_context()
    return names_in(*properties.get("x509_pem_cert", (b"",)))
