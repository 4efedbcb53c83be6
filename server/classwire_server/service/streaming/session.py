"""The base of every stream: one thread reads requests, another writes responses.

The reader stops at the window, so HTTP/2 slows the sender. A text leaves the window when gRPC has
sent its result. So a caller that stops reading makes the server hold at most the texts of a
window and one more message, and only for the idle timeout.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from classwire_server.errors import RequestError, draining
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Pending
from classwire_server.security.authenticator import bad_credentials

from .lifetime import MIN_DRAIN_S, StreamLifetime, StreamLimits

Response = TypeVar("Response", bound=Message)


class StreamSession(ABC, Generic[Response]):
    """The state of one stream.

    `responses` and `_write` run on the RPC's thread, `_read` on the session's own thread, `drain`
    and `check` on any thread. `read_items` and `sent_items` count texts.
    """

    def __init__(self, requests: Iterator[bytes], call: Call, limits: StreamLimits) -> None:
        self._requests = requests
        self._call = call
        self._inbox: SimpleQueue[list[Pending]] = SimpleQueue()  # an empty list wakes the writer
        self._changed = threading.Condition()  # guards all below, and the state of subclasses
        self.read_items = 0
        self.sent_items = 0
        self._in_window = 0  # texts read whose results gRPC has not sent
        self._reading = True
        self._over = False
        self._failure: RequestError | None = None
        self._lifetime = StreamLifetime(limits, call.received_s)

    def drain(self) -> None:
        """Stop reading, answer what was read, then end with UNAVAILABLE/DRAINING."""
        self._stop_reading(draining())

    def check(self, now_s: float) -> float:
        """End the stream if it is idle or too old, or if its caller's credentials no longer hold.

        Returns the instant of the next check.
        """
        principal = self._call.principal
        if principal.is_over():
            self._stop_reading(bad_credentials())
        with self._changed:
            answered = not self._in_window
            failure = self._lifetime.end_error(now_s, answered=answered)
            must_abort = self._lifetime.must_abort(now_s)
            next_s = self._lifetime.next_check_s(now_s, answered=answered)
        if failure is not None:
            self._stop_reading(failure)
        if must_abort:
            self._abort()
            return now_s + MIN_DRAIN_S
        return min(next_s, now_s + principal.look_s)

    def responses(self) -> Iterator[Response]:
        """All responses of the stream. Raises the RequestError that ends it, if any."""
        self._call.when_over(self._stop)
        reader = threading.Thread(
            target=copy_context().run, args=(self._run_reader,), name="stream-reader", daemon=True
        )
        reader.start()
        yield from self._write()
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    def _read(self) -> None:
        """Read until the caller half-closes or `_wait_for_window` returns False.

        Raises the error that the stream ends with.
        """

    @abstractmethod
    def _write(self) -> Iterator[Response]:
        """All responses, until reading has stopped and everything read is answered."""

    @abstractmethod
    def _withdraw(self) -> None:
        """Remove the unanswered texts from the queue: the call is over."""

    def _run_reader(self) -> None:
        failure = None
        try:
            self._read()
        except grpc.RpcError:  # grpcio ends the iterator of a cancelled call so
            pass
        except Exception as error:
            failure = request_error(error)
        self._stop_reading(failure)

    def _wait_for_window(self, window_items: int) -> bool:
        """Wait until the window has room and the caller is within its rate.

        Returns False when reading has stopped.
        """
        rate_s = self._call.caller.rate.wait_s(time.monotonic())
        with self._changed:
            self._changed.wait_for(lambda: not self._reading, rate_s)
            self._changed.wait_for(lambda: self._in_window < window_items or not self._reading)
            return self._reading

    def _enter_window(self, items: int) -> None:
        """Count texts as read; called with `_changed` held."""
        self.read_items += items
        self._in_window += items

    def _send(self, response: Response, items: int = 0) -> Iterator[Response]:
        """Give gRPC a response; its `items` results leave the window once gRPC has sent it."""
        with self._changed:
            self._lifetime.sending(time.monotonic())
        yield response
        with self._changed:
            self._lifetime.sent(time.monotonic())
            self._in_window -= items
            self.sent_items += items
            self._changed.notify_all()

    def _stop_reading(self, failure: RequestError | None) -> None:
        """End the stream with this error, None for OK, once everything read is answered."""
        with self._changed:
            if self._reading:
                self._reading = False
                self._failure = failure
            self._changed.notify_all()
        self._inbox.put([])

    def _abort(self) -> None:
        """End at once: with a status, or by cancelling the call while a message is being sent."""
        with self._changed:
            can_send_status = not (self._over or self._lifetime.is_sending)
            self._failure = self._failure or draining()
        if can_send_status:
            self._stop()
        else:
            self._call.cancel()

    def _stop(self) -> None:
        """Stop reading and writing, and remove the unanswered texts from the queue."""
        with self._changed:
            self._reading = False
            self._over = True
            self._changed.notify_all()
        self._inbox.put([])
        self._withdraw()
