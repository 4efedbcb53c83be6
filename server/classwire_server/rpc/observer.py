"""Observes every call of the port: takes and returns its id, and reports its end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from .call_executor import CallExecutor
from .call_record import RECORD, REQUEST_ID, CallRecord, Method, request_id_in
from .interceptor import Behavior, Handler, around
from .rejection import LISTENERS, Listener, Rejection, WireStatus, gone

UNKNOWN = Method("unknown", is_stream=True)
"""Stands for all methods that no service has, since callers choose their names."""

UNIMPLEMENTED = WireStatus(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
"""The status that gRPC gives for such a method."""

Metadata = Sequence[tuple[str, str | bytes]]


class CallObserver(grpc.ServerInterceptor):
    """Puts a record into the context of each call, and calls `listeners` when the call is over.

    `methods` are those of the port, by path. `begin` is called with the record and the metadata of
    each new call. The observer has to be the first interceptor of the server that runs on
    `executor`.
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
        """The observed handler of a call, also for a method that no service has."""
        details: Any = handler_call_details
        metadata: Metadata = details.invocation_metadata or ()
        record = CallRecord(self._methods.get(details.method, UNKNOWN), request_id_in(metadata))
        RECORD.set(record)
        LISTENERS.set(self._listeners)
        if self._begin is not None:
            self._begin(record, metadata)
        self._executor.choose(None)  # forget the choice for a call that gRPC gave up
        handler = continuation(details) or self._executor.reject_with(UNIMPLEMENTED)
        if isinstance(handler, Rejection):
            return handler
        return around(handler, lambda behavior: self._observed(behavior, handler, record))

    def _observed(self, behavior: Behavior, handler: Handler, record: CallRecord) -> Behavior:
        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            self._observe(record, context)
            response = behavior(request, context)
            record.is_done = True
            return response

        def stream(request: Any, context: grpc.ServicerContext, *send: Any) -> Any:
            self._observe(record, context)
            responses = behavior(request, context, *send)
            return None if responses is None else _until_done(responses, record)

        return stream if handler.response_streaming else unary

    def _observe(self, record: CallRecord, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
        if self._listeners and not context.add_callback(lambda: self._report(record, context)):
            self._report(record, context)

    def _report(self, record: CallRecord, context: Any) -> None:
        code = context.code() or (grpc.StatusCode.OK if record.is_done else None)
        if code is None or (code in _MAYBE_CANCELLED and not was_there(context)):
            code = gone(context)
        for listener in self._listeners:
            listener(record, code)


_MAYBE_CANCELLED = (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)
"""Statuses that a handler also gives when its caller left: to it the requests just end, maybe
before the first.
"""


def was_there(context: Any) -> bool:
    """Whether the caller of a call that is over stayed until its end.

    This is the one private name of grpcio in use, since no public one tells. A handler may return
    before grpcio reports that its caller left, `is_active` is false after every call, and callbacks
    get no status. Without it such a call counts as answered.
    """
    client: str = getattr(getattr(context, "_state", None), "client", "")
    return client != "cancelled"


def _until_done(responses: Iterator[Any], record: CallRecord) -> Iterator[Any]:
    yield from responses
    record.is_done = True
