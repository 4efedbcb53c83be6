"""gRPC handlers of the server's methods: raw bytes in and out, one deadline, errors in one form.

Handlers take raw bytes and parse them themselves, since grpcio answers INTERNAL for bytes that are
no message.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.gate import Gate
from classwire_server.security.authenticator import OPEN, Principal
from classwire_server.security.callers import Caller

from .call_pool import CallPool
from .receive_timeout import ReceiveTimeout
from .rejection import end
from .status import request_error

Request = TypeVar("Request", bound=Message)

PRINCIPAL: ContextVar[Principal] = ContextVar("PRINCIPAL", default=OPEN)
"""The authenticated caller of this context's call."""


@dataclass(frozen=True)
class Call:
    """One call of a caller.

    `received_s` and `deadline_s` are instants of the monotonic clock. The deadline is the earlier
    of the caller's and the server's default.
    """

    received_s: float
    deadline_s: float
    principal: Principal
    _context: grpc.ServicerContext

    @staticmethod
    def of(context: grpc.ServicerContext, default_timeout_s: float = math.inf) -> "Call":
        """The call of a gRPC context that has just begun."""
        now_s = time.monotonic()
        return Call(
            now_s, now_s + remaining_s(context, default_timeout_s), PRINCIPAL.get(), context
        )

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self.principal.caller

    def shares_connection(self, other: "Call") -> bool:
        """Whether both calls came by one connection. False for Unix sockets: gRPC does not tell."""
        peer: str = self._context.peer()
        return not peer.startswith("unix:") and peer == other._context.peer()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Run a callback once, on gRPC's thread, when the call is over; at once when it is already.

        Streams release here what they hold: grpcio does not finish the generator of a call that is
        over.
        """
        if not self._context.add_callback(callback):
            callback()

    def cancel(self) -> None:
        """End the call with CANCELLED, on any thread."""
        self._context.cancel()


def remaining_s(context: grpc.ServicerContext, default_timeout_s: float) -> float:
    """How much time a call that begins now has left, in seconds."""
    own_s = context.time_remaining()
    return default_timeout_s if own_s is None else min(default_timeout_s, own_s)


class UnaryHandlers:
    """Makes the handlers of unary RPCs.

    `gate` counts their calls and may reject them, `pool` runs them, and `default_timeout_s` bounds
    them.
    """

    def __init__(self, gate: Gate, pool: CallPool, default_timeout_s: float) -> None:
        self._gate = gate
        self._pool = pool
        self._default_timeout_s = default_timeout_s
        self._received = ReceiveTimeout(default_timeout_s)

    def handler(
        self,
        method: Callable[[Request, Call], Message],
        request_type: type[Request],
        reject_late: Callable[[float], RequestError | None] = lambda left_s: None,
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The handler of one RPC.

        `reject_late` returns the error of a call that has too little time left, in seconds. The
        server does not read such a call, nor a call whose caller has gone. To gRPC the request is a
        stream, so that a timeout can bound the wait for its one message.
        """

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            is_active = context.is_active()
            left_s = remaining_s(context, self._default_timeout_s) if is_active else 0.0
            if (error := self._pool.begin(left_s, reject_late)) is not None:
                end(context, error if is_active else None)
            raw = self._received.message(requests, context)
            call = Call.of(context, self._default_timeout_s)
            try:
                self._gate.enter()
                try:
                    return method(parse(request_type, raw), call).SerializeToString()
                finally:
                    self._gate.leave()
            except CancelledError:
                failure = None
            except Exception as error:  # the caller gets a status, and never an exception's text
                failure = request_error(error)
            end(context, failure)
            return b""

        return grpc.stream_unary_rpc_method_handler(handle)


def bidirectional(
    method: Callable[[Iterator[bytes], Call], Iterator[Message]], gate: Gate
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """A handler of a bidirectional RPC; the method parses its messages itself."""

    def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        call = Call.of(context)
        try:
            gate.enter()
            call.when_over(gate.leave)
            for message in method(requests, call):
                yield message.SerializeToString()
            return
        except CancelledError:
            failure = None
        except Exception as error:  # as above
            failure = request_error(error)
        end(context, failure)

    return grpc.stream_stream_rpc_method_handler(handle)


def parsed(message_type: type[Request], raw: bytes, context: grpc.ServicerContext) -> Request:
    """A message of a standard service. Ends the call when the bytes are not such a message."""
    try:
        return parse(message_type, raw)
    except RequestError as error:
        end(context, error)
        raise


def parse(message_type: type[Request], raw: bytes) -> Request:
    """A message parsed from its bytes. Raises RequestError BAD_ENCODING."""
    try:
        return message_type.FromString(raw)
    except DecodeError:
        raise RequestError(
            Reason.BAD_ENCODING, f"the bytes are no {message_type.__name__}, or a text is not UTF-8"
        ) from None
