"""Every call of the port, whatever its service: its id comes in, goes out, and its end is told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from grpc import _server

from .call_pool import Inline
from .call_record import RECORD, REQUEST_ID, CallRecord, Method, request_id_in
from .interceptor import Behavior, Handler, around
from .rejection import LISTENERS, Listener, Refused, gone

UNKNOWN = Method("unknown", is_stream=True)
"""Whatever method no service has; its name would be the caller's own."""

Metadata = Sequence[tuple[str, str | bytes]]


class CallObserver(grpc.ServerInterceptor):
    """Gives each call a record, which its context has from then on, and tells `listeners` when it
    is over. `methods` are those of the port, by path; `begin` is told of each call when it comes,
    with its metadata.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        listeners: Sequence[Listener],
        begin: Callable[[CallRecord, Metadata], None] | None = None,
    ) -> None:
        self._methods = methods
        self._listeners = listeners
        self._begin = begin
        self._inline = Inline()

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
        handler = continuation(details) or self._unimplemented()
        if isinstance(handler, Refused):
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

    def _unimplemented(self) -> Handler:
        """What gRPC says by itself, with an id."""

        def handle(requests: Any, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

        handle.experimental_thread_pool = self._inline  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(handle)


_TO_NOBODY = (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)
"""How calls seem to end whose caller left: the requests end, maybe before there is any."""


def heard(context: Any) -> bool:
    """Whether the caller of a call that is over was there until its end.

    A handler cannot know: grpcio may end a stream of requests before it says that the caller left,
    and what is then answered, nobody reads. Only its inner parts tell.
    """
    client: str = context._state.client
    return client != _server._CANCELLED


def _to_their_end(responses: Iterator[Any], record: CallRecord) -> Iterator[Any]:
    yield from responses
    record.is_done = True
