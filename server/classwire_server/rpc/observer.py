"""Every call of the port, whatever its service: its id comes in, goes out, and its end is told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from .call_pool import CallExecutor
from .call_record import RECORD, REQUEST_ID, CallRecord, Method, request_id_in
from .interceptor import Behavior, Handler, around
from .rejection import LISTENERS, Listener, Rejection, WireStatus, gone

UNKNOWN = Method("unknown", is_stream=True)
"""Whatever method no service has; its name would be the caller's own."""

UNIMPLEMENTED = WireStatus(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
"""What gRPC tells callers of such a method."""

Metadata = Sequence[tuple[str, str | bytes]]


class CallObserver(grpc.ServerInterceptor):
    """Gives each call a record, which its context has from then on, and tells `listeners` when it
    is over. `methods` are those of the port, by path; `begin` is told of each call when it comes,
    with its metadata. It has to be the first interceptor of the server that runs on `executor`.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        listeners: Sequence[Listener],
        executor: CallExecutor,
        begin: Callable[[CallRecord, Metadata], None] | None = None,
    ) -> None:
        self._methods = methods
        self._listeners = listeners
        self._begin = begin
        self._executor = executor

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of a call, watched; of a method that no service has, too."""
        details: Any = handler_call_details
        metadata: Metadata = details.invocation_metadata or ()
        record = CallRecord(self._methods.get(details.method, UNKNOWN), request_id_in(metadata))
        RECORD.set(record)
        LISTENERS.set(self._listeners)
        if self._begin is not None:
            self._begin(record, metadata)
        self._executor.choose(None)  # what was chosen for a call before it, which gRPC gave up
        handler = continuation(details) or self._executor.reject_with(UNIMPLEMENTED)
        if isinstance(handler, Rejection):
            return handler
        return around(handler, lambda behavior: self._watched(behavior, handler, record))

    def _watched(self, behavior: Behavior, handler: Handler, record: CallRecord) -> Behavior:
        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            self._watch(record, context)
            response = behavior(request, context)
            record.is_done = True
            return response

        def stream(request: Any, context: grpc.ServicerContext, *send: Any) -> Any:
            self._watch(record, context)
            responses = behavior(request, context, *send)
            return None if responses is None else _to_their_end(responses, record)

        return stream if handler.response_streaming else unary

    def _watch(self, record: CallRecord, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
        if self._listeners and not context.add_callback(lambda: self._tell(record, context)):
            self._tell(record, context)

    def _tell(self, record: CallRecord, context: Any) -> None:
        code = context.code() or (grpc.StatusCode.OK if record.is_done else None)
        if code is None or (code in _TO_NOBODY and not heard(context)):
            code = gone(context)
        for listener in self._listeners:
            listener(record, code)


_TO_NOBODY = (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)
"""How calls seem to end whose caller left: the requests end, maybe before there is any."""


def heard(context: Any) -> bool:
    """Whether the caller of a call that is over was there until its end.

    This is the one private name of grpcio in use, since no public one tells: a handler may return
    before grpcio says that its caller left, `is_active` is false after every call, and callbacks
    get no status. Without it such a call counts as answered.
    """
    client: str = getattr(getattr(context, "_state", None), "client", "")
    return client != "cancelled"


def _to_their_end(responses: Iterator[Any], record: CallRecord) -> Iterator[Any]:
    yield from responses
    record.is_done = True
