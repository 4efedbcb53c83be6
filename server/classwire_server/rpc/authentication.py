"""Who may call, asked before anything else of a call: of every service on the port."""

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
from classwire_server.security.certificate_names import names_in

from .call import ADMISSION
from .call_pool import CallExecutor
from .call_record import RECORD
from .interceptor import Behavior, Handler, around
from .rejection import WireStatus, end


class AuthenticationInterceptor(grpc.ServerInterceptor):
    """Lets in the calls of those whom `access` knows, and all calls of what is open.

    `opened` are services by name, and methods as in `package.Service/Method`.

    A token is looked at on gRPC's own thread, so that a call with a bad one, or none, never holds a
    thread. A certificate can be seen only where the call is served.
    """

    def __init__(
        self, access: Authenticator, opened: Collection[str], executor: CallExecutor
    ) -> None:
        self._access = access
        self._open = frozenset(opened)
        self._executor = executor

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of a call, or one that refuses it."""
        details: Any = handler_call_details
        method = details.method.removeprefix("/")
        if method in self._open or method.partition("/")[0] in self._open:
            return continuation(details)
        try:
            token = _token(details.invocation_metadata or ())
            admission = self._access.by_token(token) if token else None
            if admission is None and not self._access.knows_certificates:
                raise missing_credentials()
        except RequestError as failure:
            return self._executor.reject_with(WireStatus.of(failure))
        if admission is not None:
            _let_in(admission)
            return continuation(details)
        handler = continuation(details)
        return handler and around(handler, self._certified)

    def _certified(self, behavior: Behavior) -> Behavior:
        """What asks for a certificate before it does anything."""

        def certified(request: Any, context: grpc.ServicerContext, *send: Any) -> Any:
            try:
                admission = self._access.by_certificate(_names(context))
            except RequestError as failure:
                end(context, failure)
                raise
            _let_in(admission)
            return behavior(request, context, *send)

        return certified


def _let_in(admission: Principal) -> None:
    """Say in the context of a call as whom it is let in."""
    ADMISSION.set(admission)
    if (record := RECORD.get()) is not None:
        record.caller = admission.caller.name


def _token(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    """The bearer token of a call; None where it has none.

    Raises RequestError BAD_CREDENTIALS for what is none.
    """
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token:
        raise bad_credentials()
    return token


def _names(context: grpc.ServicerContext) -> frozenset[str]:
    shown: Any = context.auth_context()
    return names_in(*shown.get("x509_pem_cert", (b"",)))
